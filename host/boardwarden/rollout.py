"""Rolls a policy out over boards of a broker, tells what became of each, and undoes that.

Prints nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

from . import policy_on_board
from ._clock import attended_s
from .board import connect
from .doctor.boards import BrokerBoard, broker_boards
from .errors import (
    AddressError,
    AtPrompt,
    BoardError,
    BoardOffline,
    ConnectError,
    KeyRefused,
    NoAgent,
    NoPlace,
    PermissionDenied,
    PolicyError,
    PoorLink,
    RequestRefused,
    VersionMismatch,
)
from .models import Model
from .policy import Difference, Policy
from .policy_on_board import Health
from .render.text import duration
from .transport.address import Place, parse_mqtt, wrong_broker
from .undo_file import Changed, UndoFile, check

_PATTERN = re.compile(r"(mqtts?://[^/]+)/(.+)")


class Pattern(NamedTuple):
    """A broker, and which of its boards are meant."""

    place: Place
    names: str

    def __str__(self) -> str:
        return f"{self.place}/{self.names}"


def parse_pattern(text: str) -> Pattern:
    """Return broker and pattern of "mqtt://broker/green-*"; raise AddressError."""
    found = _PATTERN.fullmatch(text)
    if found is None:
        parse_mqtt(text, wrong_broker)  # says so where it has a password
        raise AddressError(
            f"{text!r} names no boards of a broker: mqtt://broker/green-* are those whose names "
            "begin so, and mqtt://broker/* all; * stands for any text, ? for a character, "
            "[ab] for a or b.",
        )
    place, _ = parse_mqtt(found[1], wrong_broker)
    return Pattern(place, found[2])


async def find(pattern: Pattern) -> list[BrokerBoard]:
    """Return the boards that a broker knows and a pattern names, by name; raise a ConnectError."""
    return await broker_boards(str(pattern.place), pattern=pattern.names)


class State(Enum):
    """What became of a board."""

    APPLIED = "applied"  # it follows and stores the policy
    HAD_IT = "had_it"
    WOULD_CHANGE = "would_change"  # --dry-run
    RESTORED = "restored"  # by an undo
    WORSE = "worse"  # it follows the policy, and got worse
    CHANGED = "changed"  # it got the policy, and then another one from somebody else
    UNKNOWN = "unknown"  # lost, or interrupted, in the middle of it
    REFUSED = "refused"  # nothing was changed
    OFFLINE = "offline"
    UNREACHABLE = "unreachable"  # it said at some time that it is online, and does not answer
    NOT_REACHED = "not_reached"  # the roll-out ended before

    @property
    def words(self) -> str:
        """The words for it."""
        return str(self.value).replace("_", " ")


DONE = (State.APPLIED, State.HAD_IT, State.WOULD_CHANGE, State.RESTORED)
STOPPING = (State.WORSE, State.CHANGED, State.UNKNOWN)


@dataclass(frozen=True)
class BoardResult(Model):
    """What became of a board; `reason` is None where there is nothing to say.

    `protocol` is its agent's, None if it did not answer; the later result of a board counts.
    """

    board: str = ""
    address: str = ""
    state: State = State.NOT_REACHED
    reason: str | None = None
    differences: tuple[Difference, ...] = ()
    protocol: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        differences = [each.to_dict() for each in self.differences]
        return {**super().to_dict(), "state": self.state.value, "differences": differences}


@dataclass(frozen=True)
class Summary(Model):
    """The end of a roll-out: `ended` is "done", "stopped" (by `reason`) or "interrupted".

    `boards` counts them by their State's value; `undo` is the command that undoes it, if any.
    """

    ended: str = "done"
    reason: str | None = None
    boards: dict[str, int] = field(default_factory=dict)
    undo: str | None = None


def counted(results: Iterable[BoardResult]) -> dict[str, int]:
    """Return how many boards are in each state, in the order of State."""
    found = Counter(each.state for each in results)
    return {state.value: found[state] for state in State if found[state]}


WATCH_S = 60.0  # how long each group is watched
_MAX_GROUP = 64
# Errors of one board; any other ConnectError is the broker's, and so of all boards.
_OF_A_BOARD = (
    *(AtPrompt, KeyRefused, NoAgent, NoPlace),
    *(PermissionDenied, PoorLink, VersionMismatch),
)
_CHECK_S = 0.2  # between two looks at a group


def group_sizes() -> Iterator[int]:
    """Yield how many boards are changed before they are watched: 1, 1, 2, 4, 8, … at most 64."""
    yield 1
    size = 1
    while True:
        yield size
        size = min(2 * size, _MAX_GROUP)


class Wanted(NamedTuple):
    """What a roll-out is to do. insist: as Board.save_policy() has it; watch_s: of each group."""

    policy: Policy
    insist: bool = False
    dry_run: bool = False
    watch_s: float = WATCH_S


class Progress:
    """Is called as a roll-out goes on; this one does nothing. `stop` ends it after this board."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()

    def on_result(self, result: BoardResult) -> None:
        """A board's result, or its later one, is known."""

    def on_board(self, name: str, done: int, total: int) -> None:
        """Begins with a board."""

    def on_watch(self, names: Sequence[str], passed_s: float, total_s: float) -> None:
        """Watches the boards that were changed last, for so long already."""


class _Watched(NamedTuple):
    result: BoardResult
    health: Health


class Rollout:
    """A policy on its way over boards, in their order.

    file: stores what each had before; None for a dry run.
    """

    def __init__(self, wanted: Wanted, progress: Progress, file: UndoFile | None) -> None:
        self._wanted = wanted
        self._progress = progress
        self._file = file
        self._results: dict[str, BoardResult] = {}
        self._total = 0

    async def run(self, boards: Sequence[BrokerBoard]) -> Summary:
        """Roll it out; return the summary, of which what undoes it is not this class's to know.

        Boards that are offline, do not answer or refuse are passed over. It stops at the first one
        that gets worse, is lost in the middle, or whose policy somebody else changes meanwhile.
        """
        self._total = len(boards)
        self._results = {each.board: BoardResult(each.board, each.address) for each in boards}
        pending = deque(boards)
        trouble: BoardResult | None = None
        sizes = group_sizes()
        try:
            while pending and trouble is None and not self._progress.stop.is_set():
                trouble = await self._group(pending, next(sizes))
        except asyncio.CancelledError:
            self._note("interrupted", None)
            raise
        except (PolicyError, ConnectError) as error:  # the file cannot be written; no broker
            return self._note("stopped", str(error))
        ended, reason = "done", None
        if trouble is not None:
            ended, reason = "stopped", f"{trouble.board}: {trouble.reason}"
        elif self._progress.stop.is_set():
            ended = "interrupted"
        return self._note(ended, reason)

    def _note(self, ended: str, reason: str | None) -> Summary:
        summary = Summary(ended, reason, counted(self._results.values()))
        if self._file is not None:
            with contextlib.suppress(PolicyError):  # what matters is in it already
                self._file.add_result(summary.to_dict())
        return summary

    async def _group(self, pending: deque[BrokerBoard], size: int) -> BoardResult | None:
        """Change so many boards, and watch them; return the one that gets worse."""
        async with contextlib.AsyncExitStack() as stack:
            group: list[_Watched] = []
            while pending and len(group) < size and not self._progress.stop.is_set():
                target = pending.popleft()
                self._progress.on_board(target.board, self._total - len(pending) - 1, self._total)
                async with contextlib.AsyncExitStack() as connection:
                    result, health = await self._change(target, connection)
                    self._put(result)
                    if health is not None:  # else the connection ends here
                        group.append(_Watched(result, health))
                        stack.push_async_callback(connection.pop_all().aclose)
                if trouble := self._trouble(group):
                    return trouble
                if result.state in STOPPING:
                    return result
            return await self._watch(group)

    async def _change(
        self, target: BrokerBoard, stack: contextlib.AsyncExitStack
    ) -> tuple[BoardResult, Health | None]:
        """Change a board, over a connection that ends with `stack`; None: it is not watched."""
        result = self._results[target.board]
        if target.online is False:
            return replace(result, state=State.OFFLINE), None
        if target.silent_s is not None:
            silent = duration(target.silent_s)
            reason = f"Within {silent} nothing came from it that this user may read."
            return replace(result, state=State.UNREACHABLE, reason=reason), None
        try:
            board = await stack.enter_async_context(connect(target.address))
        except BoardOffline as error:
            return replace(result, state=State.OFFLINE, reason=str(error)), None
        except _OF_A_BOARD as error:
            return replace(result, state=State.UNREACHABLE, reason=str(error)), None
        result = replace(result, protocol=board.status.board.protocol, reason=board.version_note)
        try:
            before = await policy_on_board.read(board)
            steps = before.steps(self._wanted.policy)
            is_there = before.is_as(self._wanted.policy)
            if not is_there:
                check(before)
        except (RequestRefused, PolicyError) as error:
            return replace(result, state=State.REFUSED, reason=str(error)), None
        except BoardError as error:  # it was only read
            return replace(result, state=State.UNREACHABLE, reason=str(error)), None
        found = tuple(each for step in steps for each in step.differences)
        result = replace(result, differences=found)
        if is_there:
            return replace(result, state=State.HAD_IT), None
        if self._wanted.dry_run or self._file is None:
            return replace(result, state=State.WOULD_CHANGE), None
        self._file.add_before(target.address, before)
        health = Health(board, self._wanted.watch_s)
        self._results[target.board] = replace(
            result, state=State.UNKNOWN, reason="It was interrupted in the middle of it."
        )
        problem = await policy_on_board.send_and_store(
            board, before, self._wanted.policy, self._wanted.insist
        )
        if problem is None:
            return replace(result, state=State.APPLIED), health
        state = State.REFUSED if problem.unchanged else State.UNKNOWN
        return replace(result, state=state, reason=problem.sentence), None

    async def _watch(self, group: Sequence[_Watched]) -> BoardResult | None:
        """Watch boards as long as is wanted; return the first that gets worse."""
        if not group:
            return None
        names = [each.result.board for each in group]
        began = attended_s()
        while (passed := attended_s() - began) < self._wanted.watch_s:
            if trouble := self._trouble(group):
                return trouble
            self._progress.on_watch(names, passed, self._wanted.watch_s)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._progress.stop.wait(), _CHECK_S)
                break
        return self._trouble(group, at_end=not self._progress.stop.is_set())

    def _trouble(self, group: Sequence[_Watched], at_end: bool = False) -> BoardResult | None:
        now = attended_s()
        for result, health in group:
            reason = health.worse(now, at_end)
            state = State.WORSE
            if reason is None:
                state, reason = State.CHANGED, health.changed(self._wanted.policy)
            if reason is not None:
                trouble = replace(result, state=state, reason=reason)
                self._put(trouble)
                return trouble
        return None

    def _put(self, result: BoardResult) -> None:
        self._results[result.board] = result
        self._progress.on_result(result)
        if self._file is not None:
            self._file.add_result(result.to_dict())


async def undo(changed: Sequence[Changed], dry_run: bool, progress: Progress) -> Summary:
    """Put back on each board what it had; return the summary. What fails may be tried again.

    It stops without the broker.
    """
    results: dict[str, BoardResult] = {}
    reason: str | None = None
    for done, each in enumerate(changed):
        if progress.stop.is_set():
            break
        name = each.address.rpartition("/")[2]
        progress.on_board(name, done, len(changed))
        try:
            results[each.address] = await _undo_one(name, each, dry_run)
        except ConnectError as error:
            reason = str(error)
            break
        progress.on_result(results[each.address])
    for each in changed:
        results.setdefault(each.address, BoardResult(state=State.NOT_REACHED))
    ended = "interrupted" if progress.stop.is_set() else "done" if reason is None else "stopped"
    return Summary(ended, reason, counted(results.values()))


async def _undo_one(name: str, changed: Changed, dry_run: bool) -> BoardResult:
    result = BoardResult(name, changed.address)
    try:
        async with connect(changed.address) as board:
            result = replace(
                result, protocol=board.status.board.protocol, reason=board.version_note
            )
            now = await policy_on_board.read(board)
            steps = now.steps(changed.before.policy)
            found = tuple(each for step in steps for each in step.differences)
            result = replace(result, differences=found)
            if changed.before.is_back(now):
                return replace(result, state=State.HAD_IT)
            if dry_run:
                return replace(result, state=State.WOULD_CHANGE)
            problem = await policy_on_board.restore(board, now, changed.before)
    except BoardOffline as error:
        return replace(result, state=State.OFFLINE, reason=str(error))
    except (RequestRefused, PolicyError) as error:
        return replace(result, state=State.REFUSED, reason=str(error))
    except _OF_A_BOARD as error:
        return replace(result, state=State.UNREACHABLE, reason=str(error))
    except ConnectError:
        raise
    except BoardError as error:
        return replace(result, state=State.UNKNOWN, reason=str(error))
    if problem is None:
        return replace(result, state=State.RESTORED)
    state = State.REFUSED if problem.unchanged else State.UNKNOWN
    return replace(result, state=state, reason=problem.sentence)
