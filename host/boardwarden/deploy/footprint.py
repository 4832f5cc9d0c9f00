"""What the agent takes of a board's heap: bytes, as counted on 32 bits by tools/footprint.py.

The figures stand in bench/footprint.json and nowhere else; the wheel has a copy of that file beside
the board's sources.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from boardwarden.models import Model
from boardwarden.transport.sim import board_files

# Ways of installing: files in the board's file system with the little machine code that pays, the
# same without it, a ROMFS image whose bytecode runs in place, and part of the firmware.
FILES, BYTECODE, ROMFS, FROZEN = "files", "bytecode", "romfs", "frozen"
WATCHING, DECIDING = "watching", "deciding"  # start(protect=False), start()
STATES = (WATCHING, DECIDING)
RUN = "run"  # deciding, and warden.run() beside it
_TARGET = "unix32"
_NAMES = "names"  # after way and state: how many names the agent adds to MicroPython's pool
DESKTOP = ("linux", "darwin", "win32")  # the unix port and its like: mostly of 64 bits


@dataclass(frozen=True)
class Footprint:
    """Heap in bytes, of one way of installing in one state, after start().

    Of the pool of names the entries that `names` take are counted, and not how it grows.
    """

    bytes: int
    names: int


Figures = Mapping[tuple[str, str], Footprint]  # by way and state


def parse(counted: Mapping[str, int]) -> Figures:
    """Return the figures by way and state from those by "target/way/state[/names]"."""
    found = {}
    for name, size in counted.items():
        target, way, state, *more = name.split("/")
        if target == _TARGET and state in (*STATES, RUN) and not more:
            names = counted.get(f"{name}/{_NAMES}", 0)
            found[way, state] = Footprint(size, names)
    return found


def footprints() -> Figures:
    """Return the figures of this version's agent, by way and state."""
    return parse(json.loads(_file().read_text(encoding="utf-8")))


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
