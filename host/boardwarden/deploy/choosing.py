"""Choosing how the agent is installed: what a board has, what each way takes of it, and what fits.

The figures of what it takes were counted on 32 bits by tools/footprint.py. They stand in
bench/footprint.json and nowhere else; the wheel has a copy of that file beside the board's sources.

It fits where at least a third of the heap that is free remains for the application, and the largest
block that it takes is there in one piece.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from boardwarden.models import Model
from boardwarden.render.text import size
from boardwarden.transport.sim import board_files

from . import programs

if TYPE_CHECKING:
    from .repl import Repl  # which needs mpremote; `doctor` reads the figures without

# Ways of installing: files in the board's file system with the little machine code that pays, the
# same without it, a ROMFS image whose bytecode runs in place, and part of the firmware.
FILES, BYTECODE, ROMFS, FROZEN = "files", "bytecode", "romfs", "frozen"
WATCHING, DECIDING = "watching", "deciding"  # start(protect=False), start()
STATES = (WATCHING, DECIDING)
RUN = "run"  # deciding, and warden.run() beside it
_TARGET = "unix32"
_NAMES = "names"  # after way and state: how many names the agent adds to MicroPython's pool
DESKTOP = ("linux", "darwin", "win32")  # the unix port and its like: mostly of 64 bits
# Of py/qstr.c: the first pool that is made has 20 places, each further one twice as many; a pool is
# six words, and a place takes a pointer, a hash of two bytes and a length. On 32 bits.
_FIRST_PLACES = 20
_POOL_BYTES = 24
PLACE_BYTES = 7
_BLOCK_BYTES = 16
_POOLS = re.compile(r"n_pool=(\d+), n_qstr=(\d+)")
LEFT = 3  # one part of so many has to remain
GUIDE = "docs/guides/firmware.md"
_IN_WORDS = {
    FILES: "as files",
    BYTECODE: "as files of bytecode only",
    ROMFS: "in the ROMFS partition",
    FROZEN: "frozen into the firmware",
}


# --- what the agent takes -------------------------------------------------------------------------


@dataclass(frozen=True)
class Footprint:
    """Heap in bytes, of one way of installing in one state, after start().

    Of the pool of names the entries that `names` take are counted, and not how it grows.
    """

    bytes: int
    names: int


Figures = Mapping[tuple[str, str], Footprint]  # by way and state


def figures_of(counted: Mapping[str, int]) -> Figures:
    """Return the figures by way and state from those by "target/way/state[/names]"."""
    found = {}
    for name, heap_bytes in counted.items():
        target, way, state, *more = name.split("/")
        if target == _TARGET and state in (*STATES, RUN) and not more:
            names = counted.get(f"{name}/{_NAMES}", 0)
            found[way, state] = Footprint(heap_bytes, names)
    return found


def footprints() -> Figures:
    """Return the figures of this version's agent, by way and state."""
    return figures_of(json.loads(_file().read_text(encoding="utf-8")))


def with_run(figures: Figures) -> Figures:
    """Return the figures of an agent that runs the application, too, where it decides."""
    ways = {way for way, _ in figures}
    runs = {(way, DECIDING): figures[way, RUN] for way in ways if (way, RUN) in figures}
    return {**figures, **runs}


def as_bytecode(figures: Figures) -> Figures:
    """Return the figures of a board for which there is no machine code, in a ROMFS image either."""
    found = dict(figures)
    for state in (*STATES, RUN):
        if (ROMFS, state) not in figures:
            continue
        image = figures[ROMFS, state]
        code = figures[FILES, state].bytes - figures[BYTECODE, state].bytes
        found[ROMFS, state] = Footprint(image.bytes - code, image.names)
    return found


def _file() -> Path:
    agent = board_files()[0]
    bundled = agent / "footprint.json"
    return bundled if bundled.exists() else agent.parent / "bench" / "footprint.json"


@dataclass(frozen=True)
class HeapUse(Model):
    """Heap in bytes, as counted on 32 bits, by how the agent may be installed.

    None: it is not installed in that way. state: "watching" or "deciding".
    """

    state: str = DECIDING
    files_bytes: int | None = None
    romfs_bytes: int | None = None
    frozen_bytes: int | None = None


def heap_use(way: str, watching: bool) -> HeapUse:
    """Return what the agent takes, installed in a way that is known, or in any where it is ""."""
    state = WATCHING if watching else DECIDING
    figures, ways = footprints(), (FILES, ROMFS, FROZEN)
    return HeapUse(
        state, *(figures[each, state].bytes if way in ("", each) else None for each in ways)
    )


def way_of(place: str | None) -> str:
    """Return how the agent is installed whose `warden.__file__` this is."""
    if not place or place.startswith("warden/"):
        return FROZEN
    return ROMFS if place.startswith("/rom/") else FILES


# --- what a board has -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Names:
    """MicroPython's pools of names: how many there are, and how many names are in them."""

    pools: int
    used: int

    def growth(self, more: int) -> tuple[int, int]:
        """Return the bytes that the pools grow by for so many names more, and the largest block."""
        left = _FIRST_PLACES * (2**self.pools - 1) - self.used
        pool, total, largest = self.pools, 0, 0
        while more > left:
            places = _FIRST_PLACES * 2**pool
            largest = -(-(_POOL_BYTES + places * PLACE_BYTES) // _BLOCK_BYTES) * _BLOCK_BYTES
            total, left, pool = total + largest, left + places, pool + 1
        return total, largest


@dataclass(frozen=True)
class Heap:
    """A board's heap in bytes, after a collection and without its application.

    names: None where the firmware does not tell; word_bits: 32, or 64 on a desktop.
    """

    total_bytes: int
    free_bytes: int
    largest_free_block_bytes: int
    word_bits: int
    names: Names | None


def heap(repl: Repl) -> Heap:
    """Ask a board for its heap."""
    (total, free, largest, wide), printed = repl.call_printing(programs.HEAP)
    found = _POOLS.search(printed)
    names = Names(int(found[1]), int(found[2])) if found else None
    return Heap(total, free, largest, 64 if wide else 32, names)


# --- what fits ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option(Model):
    """One way of installing and what it takes, in bytes; None is not known, as on 64 bits.

    largest_block_bytes: the largest that the pool of names needs; fits: None where not known.
    """

    way: str = FILES
    state: str = DECIDING
    takes_bytes: int | None = None
    leaves_bytes: int | None = None
    largest_block_bytes: int | None = None
    fits: bool | None = None


@dataclass(frozen=True)
class Plan(Model):
    """What deploy found on a board, and what it would do; None is not known or not there.

    options: all ways that this board has, best first; frozen: what the agent would take as part of
    the firmware, by state; installed: the way in which it is there already. choice: None if none
    fits, and then `refused` says why. questions: what deploy asks before it does that.
    """

    machine: str = ""
    firmware: str = ""
    architecture: str = ""
    heap_total_bytes: int = 0
    heap_free_bytes: int = 0
    heap_largest_free_block_bytes: int = 0
    disk_free_bytes: int | None = None
    romfs_bytes: int | None = None
    romfs_image_bytes: int | None = None
    romfs_unusable: str | None = None
    installed: str | None = None
    options: tuple[Option, ...] = ()
    frozen: Mapping[str, int] = field(default_factory=dict)
    choice: Option | None = None
    questions: tuple[str, ...] = ()
    refused: str | None = None
    copies_files: int | None = None
    copies_bytes: int | None = None


def option(way: str, state: str, heap: Heap, figures: Figures) -> Option:
    """Return what a way takes of this heap. The figures are of 32 bits: others are not known."""
    figure = figures.get((way, state))
    if figure is None or heap.word_bits != 32:
        return Option(way, state)
    takes, block = figure.bytes, 0
    if heap.names is not None:
        growth, block = heap.names.growth(figure.names)
        takes += growth - figure.names * PLACE_BYTES
    free = heap.free_bytes
    fits = (free - takes) * LEFT >= free and block <= heap.largest_free_block_bytes
    return Option(way, state, takes, free - takes, block, fits)


def in_order(
    ways: Sequence[str], states: Sequence[str], heap: Heap, figures: Figures
) -> tuple[Option, ...]:
    """Return the options, best first: deciding before watching, then the ways as they are given."""
    return tuple(option(way, state, heap, figures) for state in states for way in ways)


def ways(machine_code: bool, romfs: bool, installed: str | None, only: str) -> list[str]:
    """Return the ways to install that a board has, best first.

    machine_code: mpy-cross makes some for it; installed: a way that it is there in, which stays the
    first; only: the only one, "" for all. "files" are bytecode where there is no machine code.
    """
    found = ([ROMFS] if romfs else []) + ([FILES] if machine_code else []) + [BYTECODE]
    if installed in found:
        found.sort(key=lambda way: way != installed)
    if only == FILES and not machine_code:
        only = BYTECODE
    return [way for way in found if only in ("", way)]


def states(started: str | None) -> tuple[str, ...]:
    """Return the states to choose from: the one that the board's start line has, or both."""
    return (started,) if started else tuple(reversed(STATES))


def fitting(options: Iterable[Option]) -> list[Option]:
    """Return the options that fit, and those of which nobody knows."""
    return [option for option in options if option.fits is not False]


def smallest(options: Iterable[Option]) -> Option:
    """Return the option that leaves most."""
    return max(options, key=lambda option: option.leaves_bytes or 0)


def takes(chosen: Option, heap: Heap, frozen: int | None) -> str:
    """Return the sentence that says what the agent takes."""
    if chosen.takes_bytes is None:
        return "What the agent takes of this heap is not known: its figures are of 32 bits."
    frozen_too = ""
    if frozen is not None and chosen.way != FROZEN:
        frozen_too = f"; frozen into the firmware it would take {size(frozen)}"
    only = ", only watching," if chosen.state == WATCHING else ""
    return (
        f"The agent{only} takes {size(chosen.takes_bytes)} of the {size(heap.free_bytes)} of heap "
        f"that are free, {_IN_WORDS[chosen.way]}{frozen_too}."
    )


def refusal(best: Option, heap: Heap, frozen: int | None, started_by: str | None) -> str:
    """Return why not even the option that leaves most fits, and what would."""
    takes, left = best.takes_bytes or 0, best.leaves_bytes or 0
    even = " even if it only watches" if best.state == WATCHING and started_by is None else ""
    if left * LEFT >= heap.free_bytes:
        why = (
            f"The agent needs a block of {size(best.largest_block_bytes)} and the largest that is "
            f"free has {size(heap.largest_free_block_bytes)}"
        )
    else:
        rest = f"leaves {size(left)}, less than a third" if left >= 0 else "does not fit"
        why = (
            f"The agent takes {size(takes)} of the {size(heap.free_bytes)} of heap that are free"
            f"{even}, {_IN_WORDS[best.way]}, and {rest}"
        )
    ways_out = []
    if started_by and best.state == DECIDING:
        ways_out.append(f"`warden.start(protect=False)` in {started_by} has it watch only")
    if frozen is not None and best.way != FROZEN:
        ways_out.append(f"frozen into the firmware it takes {size(frozen)} ({GUIDE})")
    ways_out.append("`--force` goes on all the same")
    return f"{why}; {', '.join(ways_out)}"
