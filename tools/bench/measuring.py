"""The parts of the bench, in the order of the table; each gives figures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import build_firmware
from firmware_errors import BuildError, say

from . import counted, growth, host_side, round_trip, slowdown
from .catalogue import QUICK_VARIANTS
from .results import Figures

Firmwares = dict[str, Path]
_QEMU = "qemu-system-arm"


def count(firmwares: Firmwares) -> Figures:
    """Instructions and bytes of ticks, decisions, pauses and the REPL query."""
    return _each(firmwares, lambda firmware: counted.measure(firmware, _ALL))


def weigh(firmwares: Firmwares) -> Figures:
    """Heap and flash, by part."""

    def both(firmware: Path) -> Figures:
        return counted.heap_held(firmware) | counted.flash_taken(firmware)

    return _each(firmwares, both)


def slow_down(firmwares: Firmwares) -> Figures:
    """A workload beside the agent, and polled through the REPL."""
    figures = _each(firmwares, slowdown.beside_agent)
    if "stock" in firmwares:
        figures |= slowdown.through_repl(firmwares["stock"])
    return figures


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
    """Heaps and hosts of different sizes."""
    figures = growth.hosts()
    try:
        figures |= growth.heaps(build_firmware.build("unix"))
    except BuildError as error:
        say(f"growth of the heap: skipped, {error}")
    return figures


def quick(firmwares: Firmwares) -> Figures:
    """The counted figures that every run of the tests compares; half a minute."""
    few = {name: firmwares[name] for name in QUICK_VARIANTS if name in firmwares}
    figures = _each(few, lambda firmware: counted.measure(firmware, counted.COUNTING))
    stock = {name: firmwares[name] for name in few if name == "stock"}
    figures |= weigh(stock)
    return {name: value for name, value in figures.items() if counted.is_judged(name)}


_ALL = (*counted.COUNTING, *counted.SLOWER)
PARTS: dict[str, Callable[[Firmwares], Figures]] = {
    "count": count,
    "weigh": weigh,
    "slow_down": slow_down,
    "host": host,
    "ask": ask,
    "grow": grow,
}


def _each(firmwares: Firmwares, measure: Callable[[Path], Figures]) -> Figures:
    figures: Figures = {}
    for variant, firmware in firmwares.items():
        say(f"  {variant}")
        figures |= {f"{variant}.{name}": value for name, value in measure(firmware).items()}
    return figures
