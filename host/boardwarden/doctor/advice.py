"""What to do next, from what was found."""

from __future__ import annotations

from collections.abc import Mapping

from boardwarden.models import Capability
from boardwarden.transport.address import is_serial

from .link_health import LinkHealth
from .repl_look import Firmware

# By capability: what gives the board what it lacks. Those that depend on the port are not here.
_REMEDIES = {
    "cpu": "`import asyncio` before `warden.start()`, in an application of asyncio, gives CPU load",
    "tasks": "start the agent before other tasks: then they are counted",
    "threads": "start the agent before `_thread` is imported: then threads are counted",
    "largest_free_block": "a firmware with the C module (docs/native.md) gives the largest block",
}


def for_agent(
    address: str, link: LinkHealth, capabilities: Mapping[str, Capability]
) -> tuple[str, ...]:
    """Give advice where the agent answers."""
    missing = [name for name, known in capabilities.items() if not known.available]
    remedies = [_REMEDIES[name] for name in missing if name in _REMEDIES]
    sentences = [*link.problems, *remedies, f"`boardwarden watch --board {address}` follows it"]
    return tuple(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)


def for_other_version(address: str) -> tuple[str, ...]:
    """Give advice where the agent speaks another protocol."""
    if is_serial(address):
        return (f"`boardwarden deploy {address}` puts this version's agent on the board.",)
    return ("Install boardwarden and the agent in the same version.",)


def for_repl(address: str, found: Firmware, at_prompt: bool) -> tuple[str, ...]:
    """Give advice where MicroPython answers, and no agent."""
    deploy = f"`boardwarden deploy {address} --start main.py`"
    if found.agent is None:
        return (f"{deploy} puts the agent on the board and starts it there.",)
    if not found.started_by:
        return (f"The agent is there and nothing starts it: {deploy} has main.py do so.",)
    by = " and ".join(found.started_by)
    if at_prompt:
        return (
            f"{by} starts the agent, and has ended: the agent runs as long as the application's "
            "loop does.",
        )
    ways = "asyncio.run() in the application, or warden.poll() in its loop"
    if "machine.Timer" not in found.lacks:
        return (
            f"{by} starts the agent and it does not answer: {deploy} checks its files, or the "
            "application blocks or uses another link.",
        )
    return (
        f"{by} starts the agent, and nothing runs it: this port has no machine.Timer, so it takes "
        f"{ways}.",
    )


def for_silence(address: str, problem: str | None) -> tuple[str, ...]:
    """Give advice where nothing was heard."""
    if not is_serial(address):
        return ("Start the agent there, with a link at this address (docs/board.md).",)
    if problem and problem.startswith("No MicroPython"):
        return ("Look at port and cable, reset the board, or flash MicroPython on it.",)
    return (
        f"`boardwarden doctor {address} --yes` asks the REPL; that stops the program that runs "
        "there and starts it again by a soft reset.",
    )
