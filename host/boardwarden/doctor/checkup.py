"""An examination of one board: what answers, how well, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from boardwarden.board import Board, connect
from boardwarden.crashes import Reset
from boardwarden.deploy.choosing import DESKTOP, HeapUse, heap_use
from boardwarden.errors import AtPrompt, NoAgent, PoorLink, RequestError, VersionMismatch
from boardwarden.models import Capability, Identity, Model, StoredPolicy, enum_name
from boardwarden.policy_on_board import find_stored_policy
from boardwarden.transport.address import is_mqtt, is_serial, is_simulated
from warden_schema import ids

from .link_health import LinkHealth, measure
from .repl_look import Firmware, probe

AGENT, OTHER_AGENT, PROMPT, SILENT = "agent", "agent of another version", "REPL", "nothing"

_HELLO_S = 3.0
# By capability: what gives the board what it lacks. Those that depend on the port are not here.
_REMEDIES = {
    "cpu": "`import asyncio` before `warden.start()`, in an application of asyncio, gives CPU load",
    "tasks": "start the agent before other tasks: then they are counted",
    "threads": "start the agent before `_thread` is imported: then threads are counted",
    "largest_free_block": "machine code, or the C module (docs/native.md), gives the largest block",
}


@dataclass(frozen=True)
class Checkup(Model):
    """What was found at an address; None is what was not examined."""

    address: str = ""
    answers: str = SILENT
    board: Identity | None = None
    capabilities: Mapping[str, Capability] = field(default_factory=dict)
    stored_policy: StoredPolicy | int | None = None
    takes: HeapUse | None = None
    link: LinkHealth | None = None
    safe_mode: bool | None = None
    crash: Reset | None = None  # what ended the boot before this one, if it was not expected
    repl: Firmware | None = None
    problem: str | None = None
    lossy: bool = False  # the state did not arrive whole, and frames were lost or damaged
    malformed: bool = False  # likewise, or not at all, and some made no sense
    ended: bool = False  # the link closed before an agent answered

    @property
    def well(self) -> bool:
        """Whether an agent answers over a healthy link, and its application may run."""
        if self.answers != AGENT or self.link is None:
            return False
        return not (self.link.problems or self.safe_mode)

    @property
    def next(self) -> tuple[str, ...]:
        """What to do next, in sentences; commands stand between backquotes."""
        if self.answers == AGENT and self.link is not None:
            return _for_agent(self, self.link)
        if self.answers == OTHER_AGENT or (self.malformed and not self.lossy):
            return _for_other_version(self.address)
        if self.answers == AGENT:
            return _for_poor_link(self.lossy)
        if self.repl is not None:
            return _for_repl(self.address, self.repl, at_prompt=self.answers == PROMPT)
        if self.ended and is_simulated(self.address):
            return ("See that the program calls warden.start(), and does not end by itself.",)
        return _for_silence(self.address, self.problem)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, and what follows from them."""
        capabilities = {
            name: capability.to_dict() for name, capability in self.capabilities.items()
        }
        return {
            **super().to_dict(),
            "capabilities": capabilities,
            "stored_policy": None if self.stored_policy is None else enum_name(self.stored_policy),
            "well": self.well,
            "next": list(self.next),
        }


async def examine(
    address: str, seconds: float, progress: Callable[[float], None] = lambda elapsed: None
) -> Checkup:
    """Look for an agent and measure the link to it; asks no REPL and stops nothing.

    Raises a ConnectError where the address cannot be opened.
    """
    try:
        async with connect(address, timeout=_HELLO_S) as board:
            link = await measure(board, seconds, progress)
            identity, known = board.status.board, dict(board.capabilities)
            stored = await find_stored_policy(board)
            return Checkup(
                *(address, AGENT, identity, known, stored),
                takes=_heap_use(board),
                link=link,
                safe_mode=await is_safe(board) if link.connected else None,
                crash=next((each for each in board.resets[-1:] if not each.expected), None),
            )
    except PoorLink as error:
        problem, lossy, malformed = str(error), error.lossy, error.malformed
        return Checkup(address, AGENT, problem=problem, lossy=lossy, malformed=malformed)
    except VersionMismatch as error:
        return Checkup(address, OTHER_AGENT, problem=str(error))
    except AtPrompt as error:
        return Checkup(address, PROMPT, problem=str(error))
    except NoAgent as error:
        problem, malformed, ended = str(error), error.malformed, error.ended
        return Checkup(address, SILENT, problem=problem, malformed=malformed, ended=ended)


async def is_safe(board: Board) -> bool | None:
    """Return whether the board is in safe mode; None if it does not say."""
    try:
        return await board.safe_mode()
    except RequestError:
        return None


def _heap_use(board: Board) -> HeapUse | None:
    """Return how much heap a running agent uses; the link does not say how it is installed."""
    if board.status.board.port in DESKTOP:
        return None
    return heap_use("", watching=board.limits.max_operations is None)


async def ask_repl(found: Checkup) -> Checkup:
    """Return an examination with the REPL's answers; a program that runs there is interrupted.

    Where the board seems to be at its prompt none is: if no prompt shows, the result is SILENT.
    """
    try:
        repl = await probe(found.address, runs=found.answers != PROMPT)
    except NoAgent as error:
        return Checkup(found.address, SILENT, problem=str(error))
    return Checkup(found.address, found.answers, repl=repl)


def _for_agent(found: Checkup, link: LinkHealth) -> tuple[str, ...]:
    """Return advice where the agent answers."""
    address = found.address
    missing = [name for name, known in found.capabilities.items() if not known.available]
    remedies = [_REMEDIES[name] for name in missing if name in _REMEDIES]
    if _is_unattended(found.capabilities):
        remedies.append(
            "nothing feeds the hardware watchdog once the application is stopped: the board is "
            "then reset, in a deploy, too"
        )
    sentences = [*link.problems, *_update(address, found.board), *remedies]
    if link.connected:
        if link.slow or link.stalls:
            sentences.append(f"`boardwarden top --board {address}` shows what blocks the loop")
        if (link.restarts and not link.two_boards) or found.crash or found.safe_mode:
            sentences.append(f"`boardwarden crashes --board {address}` shows why it restarted")
        if found.safe_mode:
            sentences.append(
                f"once that is mended, `boardwarden safe --leave --board {address}` has the board "
                "try its application again"
            )
        sentences.append(f"`boardwarden watch --board {address}` shows the board live")
    return tuple(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences)


def _is_unattended(capabilities: Mapping[str, Capability]) -> bool:
    """Return whether a board has its hardware watchdog on, and no timer that could feed it."""
    hardware, ticker = capabilities.get("hardware_watchdog"), capabilities.get("hang")
    if hardware is None or ticker is None:
        return False
    return hardware.available and ticker.reason == ids.REASONS[ids.NO_TICKER]


def _update(address: str, board: Identity | None) -> list[str]:
    """Return the advice if one side is older than the other."""
    _, _, minor = (board.protocol if board and board.protocol else "").partition(".")
    if not minor.isdecimal() or int(minor) == ids.PROTOCOL_MINOR:
        return []
    if int(minor) > ids.PROTOCOL_MINOR:
        return ["the agent is newer than this host: `pip install --upgrade boardwarden`"]
    if is_serial(address):
        return [f"the agent is older than this host: `boardwarden deploy {address}` updates it"]
    return ["the agent is older than this host: install this version's agent on the board"]


def _for_poor_link(lossy: bool) -> tuple[str, ...]:
    """Return advice where an agent answers, but its full state does not arrive."""
    if lossy:
        return ("Look at cable and connectors: frames get lost or damaged on the line.",)
    return (
        "See that the application awaits something, or calls warden.poll(), several times a "
        "second.",
    )


def _for_other_version(address: str) -> tuple[str, ...]:
    """Return advice where the agent speaks another protocol, or what makes no sense."""
    if is_serial(address):
        return (f"`boardwarden deploy {address}` puts this version's agent on the board.",)
    return ("Install boardwarden and the agent in the same version.",)


def _for_repl(address: str, found: Firmware, at_prompt: bool) -> tuple[str, ...]:
    """Return advice where MicroPython answers, and no agent."""
    deploy = f"`boardwarden deploy {address} --start main.py`"
    if found.agent is None:
        return (f"{deploy} puts the agent on the board and starts it there.",)
    if not found.started_by:
        return (
            "The agent is installed, but neither boot.py nor main.py calls warden.start(): "
            f"{deploy} has main.py do so.",
        )
    by = " and ".join(found.started_by)
    if at_prompt:
        return (
            f"{by} starts the agent, but the board is at its prompt, where nothing runs: a reset "
            "starts it again. The agent runs only as long as the application's loop does.",
        )
    ways = "asyncio.run() in the application, or warden.poll() in its loop"
    if "machine.Timer" not in found.lacks:
        return (
            f"{by} starts the agent, but it does not answer: it uses another link, the application "
            f"blocks, or its files are damaged, which {deploy} checks.",
        )
    return (
        f"{by} starts the agent, but it does not answer: it uses another link, the application "
        "blocks its loop, or nothing runs the agent (this port has no machine.Timer, so it takes "
        f"{ways}).",
    )


def _for_silence(address: str, problem: str | None) -> tuple[str, ...]:
    """Return advice where nothing answered."""
    if is_mqtt(address):
        return (
            "See that the board has power and its network, and that its application connects, and "
            "reads its messages (check_msg), several times a second.",
            "If it does, the broker's rules are in the way: `boardwarden broker-rules mosquitto` "
            "prints rules that let it send, and this user read.",
        )
    if not is_serial(address):
        return (
            f"If an agent runs there, its application blocks for longer than {_HELLO_S:g} s: see "
            "that it awaits something, or calls warden.poll(), several times a second.",
            "If none does, start it with a link at this address (docs/board.md). Close what else "
            "is connected there.",
        )
    if problem and problem.startswith("No MicroPython"):
        return ("Check port and cable, reset the board, or flash MicroPython on it.",)
    return (
        f"`boardwarden doctor {address} --yes` asks the REPL; that stops the program that runs "
        "there, and starts it again by a soft reset.",
    )
