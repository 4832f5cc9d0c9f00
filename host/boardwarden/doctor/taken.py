"""What the agent takes of a board's heap, as far as it is known without measuring it there."""

from __future__ import annotations

from dataclasses import dataclass

from boardwarden.deploy.figures import DECIDING, FILES, FROZEN, ROMFS, WATCHING, footprint
from boardwarden.models import Model

DESKTOP = ("linux", "darwin", "win32")  # the unix port and its like: mostly of 64 bits


@dataclass(frozen=True)
class Taken(Model):
    """Heap in bytes, as counted on 32 bits, by how the agent may be installed.

    None: it is not installed in that way. state: "watching" or "deciding".
    """

    state: str = DECIDING
    files_bytes: int | None = None
    romfs_bytes: int | None = None
    frozen_bytes: int | None = None


def taken(way: str, watching: bool) -> Taken:
    """Return what the agent takes, installed in a way that is known, or in any where it is ""."""
    state = WATCHING if watching else DECIDING
    sizes = [
        footprint()[each, state].bytes if way in ("", each) else None
        for each in (FILES, ROMFS, FROZEN)
    ]
    return Taken(state, *sizes)


def way_of(place: str | None) -> str:
    """Return how the agent is installed whose `warden.__file__` this is."""
    if not place or place.startswith("warden/"):
        return FROZEN
    return ROMFS if place.startswith("/rom/") else FILES
