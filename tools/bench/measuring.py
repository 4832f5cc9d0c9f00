"""The parts of the bench, in the order of the table; each gives figures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import footprint
from boardwarden.deploy.parts import read_rooms

from . import asyncio_side, flash, host_side, machine, many, peers, round_trip, slowdown
from .catalogue import is_judged
from .results import Figures

Firmwares = dict[str, Path]
REPO = Path(__file__).resolve().parents[2]
_QEMU = "qemu-system-arm"
_MODULE = "module:"
_ASYNCIO = "asyncio"  # a firmware for that part alone
_COUNTS = ("failures_under_heap_lock", "faults", "polls_at_subscription")


def watching(firmware: Path, before: str = "") -> Figures:
    """What an agent takes that only watches, and the flash; the program begins with `before`."""
    found = machine.run(firmware, "tick", f"{before}PROTECT = FULL = False\n")
    modules = [name for name in found.ticks if name.startswith(_MODULE)]
    core = {name.removeprefix(_MODULE) for name in modules}
    return _named(found, "watching") | flash.sizes(firmware, core)


def full(firmware: Path) -> Figures:
    """What ticks and polls take with all tables full."""
    return _named(machine.run(firmware, "tick", "PROTECT = FULL = True\n"), "full")


def decisions(firmware: Path) -> Figures:
    """What decisions and a host's messages take."""
    return _named(machine.run(firmware, "decide"))


def keys(firmware: Path) -> Figures:
    """What keys take on a TCP port: a handshake, and a request with and without."""
    return _named(machine.run(firmware, "keys", "", ["meter"]))


def pauses(firmware: Path) -> Figures:
    """How long the agent holds up the application at once."""
    return _named(machine.run(firmware, "pauses"))


def _named(found: machine.Rows, state: str = "") -> Figures:
    """The rows that a program printed, by the names of figures."""
    figures: Figures = {}
    for row, count in found.ticks.items():
        taken = found.heap_bytes[row]
        if row.startswith(_MODULE):
            continue
        if row in _COUNTS:
            figures[f"{row}_{state}_count" if state else f"{row}_count"] = taken
            continue
        first, _, rest = row.partition("_")
        name = row
        if state and first in ("tick", "poll"):
            name = f"{first}_{state}" + (f"_{rest}" if rest else "")
        elif state and first == "heap":
            name = f"{row}_{state}"
        if count:
            figures[f"{name}_instructions"] = machine.instructions(count)
            if taken >= 0 and not name.startswith("poll"):
                figures[f"{name}_heap_bytes"] = taken
        else:
            figures[f"{name}_bytes"] = taken
    return figures


def count(firmwares: Firmwares) -> Figures:
    """Instructions and bytes of ticks, decisions and pauses, flash, lines of code."""
    figures = _each(firmwares, watching, full, decisions, keys, pauses)
    rooms = read_rooms(REPO / "device", REPO / "shared_schema")
    lines = [footprint.contents(text)["lines"] for text in rooms.values()]
    return figures | {"code_lines": sum(lines)}


def asyncio(firmwares: Firmwares) -> Figures:
    """An asyncio application's steps, tasks and requests, and microdot beside."""
    if _ASYNCIO not in firmwares:
        return {}
    return asyncio_side.measure(firmwares[_ASYNCIO]) | peers.heap()


def slow_down(firmwares: Firmwares) -> Figures:
    """A workload beside the agent."""
    return _each(firmwares, slowdown.beside_agent)


def host(firmwares: Firmwares) -> Figures:
    """Decoding, reading, importing."""
    return host_side.measure()


def ask(firmwares: Firmwares) -> Figures:
    """Requests beside the REPL."""
    qemu = shutil.which(_QEMU)
    if "stock" not in firmwares or qemu is None:
        return {}
    return round_trip.measure(firmwares["stock"], qemu)


def grow(firmwares: Firmwares) -> Figures:
    """Hosts of different sizes."""
    return many.growth()


def quick(firmwares: Firmwares) -> Figures:
    """The counted figures that every run of the tests compares."""
    stock = {name: firmware for name, firmware in firmwares.items() if name == "stock"}
    figures = _each(stock, watching, full, decisions, keys)
    if _ASYNCIO in firmwares:
        figures |= asyncio_side.measure(firmwares[_ASYNCIO], 0, with_peers=False)
    return {name: value for name, value in figures.items() if is_judged(name)}


PARTS: dict[str, Callable[[Firmwares], Figures]] = {
    "count": count,
    "asyncio": asyncio,
    "slow_down": slow_down,
    "host": host,
    "ask": ask,
    "grow": grow,
}


def _each(firmwares: Firmwares, *measure: Callable[[Path], Figures]) -> Figures:
    figures: Figures = {}
    for variant, firmware in firmwares.items():
        if variant == _ASYNCIO:
            continue
        for part in measure:
            figures |= {f"{variant}.{name}": value for name, value in part(firmware).items()}
    return figures
