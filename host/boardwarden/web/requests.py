"""What the page may ask of a board: each request by its name, what the board says, how to undo it.

The arguments are what people type: text with units, as on the command line.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from boardwarden import _conversion, _quantities, policy, policy_file, policy_on_board
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.board import Board
from boardwarden.errors import BoardError, Denied, PolicyError
from boardwarden.grants import Threshold
from boardwarden.models import Action, StoredPolicy, enum_name
from boardwarden.render.status import board_name
from boardwarden.render.tables import difference_rows
from boardwarden.render.text import duration, printable, size

_MAX_LOG = 200
_OBJECTS = ("metric", "id", "interval")  # arguments that go without their name
_LEVELS = ("warn", "critical", "clear")
_MAX_POLICY = 16_384  # characters; tomllib takes a quadratic time for some texts
_MAX_TEXT = 200  # characters of an argument in the log
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What came of a request: a sentence, and the request that would undo it.

    ok: the board did it; rows: of a difference or a policy.
    """

    ok: bool
    text: str
    undo: dict[str, Any] | None = None
    rows: list[list[str]] | None = None
    policy: str | None = None


class BadRequest(ValueError):
    """A request that makes no sense, as a sentence."""


Arguments = dict[str, Any]
Handler = Callable[[Board, Arguments], Awaitable[Answer]]


class RequestLog:
    """The last requests: who, to which board, what, and what the board said."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=_MAX_LOG)

    def add(self, who: str, address: str, what: str, answer: Answer) -> None:
        """Add a request to the board at an address that was answered; it is logged, too."""
        name, said = board_name(address), printable(answer.text)
        who, what = printable(who), printable(what)
        entry = {"at": round(time.time(), 1), "who": who, "board": name, "what": what}
        self._entries.append({**entry, "answer": said, "id": address, "ok": answer.ok})
        _log.info("%s: %s asks for %s: %s", name, who, what, said)

    def entries(self, address: str = "") -> list[dict[str, Any]]:
        """Return the requests to the board at an address, or all; the newest first."""
        return [each for each in reversed(self._entries) if address in ("", each["id"])]


async def send(board: Board, name: str, arguments: Arguments) -> Answer:
    """Send a board a request; what it refuses is an answer, too. Raises BadRequest."""
    handler = HANDLERS.get(name)
    if handler is None:
        raise BadRequest(f"There is no request {name!r}.")
    try:
        return await handler(board, arguments)
    except BoardError as error:
        return Answer(False, printable(str(error)))
    except BadRequest:
        raise
    except ValueError as error:
        raise BadRequest(printable(str(error))) from None


def words(name: str, arguments: Arguments) -> str:
    """Return a request in words, for the log: "threshold memory, warn 75 %"."""
    parts = []
    for key, value in arguments.items():
        if isinstance(value, bool):
            parts += [key] * value
        elif key != "text" and value != "":
            parts.append(str(value) if key in _OBJECTS else f"{key} {value}")
    return printable(f"{name.replace('_', ' ')} {', '.join(parts)}".strip())[:_MAX_TEXT]


async def _interval(board: Board, arguments: Arguments) -> Answer:
    seconds = _quantities.seconds("The interval", _text(arguments, "interval"))
    least, most = _conversion.INTERVALS_S
    if not least <= seconds <= most:
        raise BadRequest(f"The interval must be from {duration(least)} to {duration(most)}.")
    before = board.status.wanted_interval_s
    await board.start_monitoring(seconds)
    undo = None
    if before:
        undo = {"name": "interval", "arguments": {"interval": policy_file.seconds(before)}}
    return Answer(True, f"It samples every {duration(seconds)} now.", undo)


async def _collect(board: Board, arguments: Arguments) -> Answer:
    freed = await board.collect()
    return Answer(True, f"It collected {size(freed)} of garbage.")


async def _release(board: Board, arguments: Arguments) -> Answer:
    number = _id(arguments)
    await board.release(number)
    return Answer(True, f"Lease {number} has ended.")


async def _cancel(board: Board, arguments: Arguments) -> Answer:
    number = _id(arguments)
    await board.cancel(number)
    return Answer(True, f"Operation {number} was told to stop.")


async def _threshold(board: Board, arguments: Arguments) -> Answer:
    metric = _text(arguments, "metric")
    if metric not in THRESHOLD_METRICS:
        raise BadRequest(f"There is no metric {metric!r}.")
    warn, critical, clear = (_level(metric, name, arguments) for name in _LEVELS)
    hold = _quantities.seconds("hold", _text(arguments, "hold") or "0")
    word = _text(arguments, "action") or "tell"
    actions = {enum_name(each): each for each in Action}
    if word not in actions:
        raise BadRequest(f"The action must be one of {', '.join(actions)}.")
    act = actions[word]
    _conversion.threshold(metric, warn, critical, clear, hold, act)  # raises ValueError
    await board.set_limits()  # changes none, but has the board begin to decide
    before = next((each for each in board.thresholds if each.metric == metric), None)
    await board.set_threshold(metric, warn, critical, clear, hold, act)
    is_watched = warn is not None or critical is not None
    undo = {"name": "threshold", "arguments": threshold_arguments(metric, before)}
    return Answer(True, f"{metric} is {'' if is_watched else 'no longer '}watched.", undo)


def threshold_arguments(metric: str, each: Threshold | None) -> dict[str, Any]:
    """Return the arguments that make a threshold what it is, as they are typed; None is none."""
    if each is None:
        return {"metric": metric, "warn": "", "critical": "", "clear": "", "action": "tell"}
    levels = {"warn": each.warn, "critical": each.critical, "clear": each.clear}
    texts = {
        name: "" if value is None else policy_file.level(metric, value)
        for name, value in levels.items()
    }
    hold, action = policy_file.seconds(each.hold_s), enum_name(each.action)
    return {"metric": metric, **texts, "hold": hold, "action": action}


async def _policy(board: Board, arguments: Arguments) -> Answer:
    """Return the board's policy as a policy file."""
    return Answer(
        True, "This is the policy in force.", policy=policy_file.dumps(await board.policy())
    )


async def _compare_policy(board: Board, arguments: Arguments) -> Answer:
    """Return what a policy would change."""
    wanted = await _wanted(arguments)
    steps = policy.steps(await board.policy(), wanted)
    rows = [
        [*row] for row in difference_rows([each for step in steps for each in step.differences])
    ]
    return Answer(True, "" if rows else "The board has this policy already.", rows=rows)


async def _apply_policy(board: Board, arguments: Arguments) -> Answer:
    wanted = await _wanted(arguments)
    saves = bool(arguments.get("save"))
    before = await policy_on_board.read(board, saves)
    problem = await policy_on_board.send(board, before.steps(wanted), before)
    if problem is not None:
        advice = " Apply it again." if problem.lost else ""
        return Answer(False, printable(problem.sentence) + advice)
    text = policy_file.dumps(before.policy)
    if not saves:
        undo = {"name": "apply_policy", "arguments": {"text": text}}
        return Answer(True, "It is in force until the board restarts.", undo)
    was_stored = before.stored == StoredPolicy.IN_FORCE
    undo = {"name": "restore_policy", "arguments": {"text": text, "save": was_stored}}
    try:
        await policy_on_board.store(board, before)
    except Denied as error:
        sentence = f"{error} The policy is in force until the board restarts."
        return Answer(False, printable(sentence), undo)
    except BoardError as error:
        return Answer(False, printable(policy_on_board.perhaps_stored(error)), undo)
    return Answer(True, "It is in force, and stored: it holds after a restart.", undo)


async def _restore_policy(board: Board, arguments: Arguments) -> Answer:
    """Put back the policy of before, stored again only if `save`, as it was: an apply's undo."""
    stored = StoredPolicy.IN_FORCE if arguments.get("save") else StoredPolicy.NOTHING
    before = policy_on_board.Before(await _wanted(arguments), stored)
    problem = await policy_on_board.restore(board, await policy_on_board.read(board), before)
    if problem is not None:
        return Answer(False, printable(problem.sentence))
    if stored == StoredPolicy.IN_FORCE:
        return Answer(True, "The former policy is in force, and stored.")
    return Answer(True, "The former policy is in force, and none is stored.")


async def _wanted(arguments: Arguments) -> Any:
    text = _text(arguments, "text")
    if len(text) > _MAX_POLICY:
        raise BadRequest(f"A policy has at most {_MAX_POLICY} characters.")
    try:  # in a thread: some texts take long, and boards are followed meanwhile
        return await asyncio.to_thread(policy_file.loads, text, "policy")
    except PolicyError as error:
        raise BadRequest(printable(str(error))) from None


def _text(arguments: Arguments, name: str) -> str:
    value = arguments.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be text.")
    return value.strip()


def _id(arguments: Arguments) -> int:
    value = arguments.get("id")
    if type(value) is not int:
        raise BadRequest("id must be a number.")
    return value


def _level(metric: str, name: str, arguments: Arguments) -> float | None:
    text = _text(arguments, name)
    return None if not text else _quantities.level(metric, name, text)


HANDLERS: dict[str, Handler] = {
    "interval": _interval,
    "collect": _collect,
    "release": _release,
    "cancel": _cancel,
    "threshold": _threshold,
    "policy": _policy,
    "compare_policy": _compare_policy,
    "apply_policy": _apply_policy,
    "restore_policy": _restore_policy,
}
ONLY_READ = ("policy", "compare_policy")  # are not in the log
