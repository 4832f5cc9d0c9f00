"""The files that a board gets: the agent's source files, joined into a few modules.

A source file is called a room here: one idea, read by people. On a board each module costs heap of
its own (about 135 bytes, and each name that it imports 8 more), so rooms that are always loaded
together become one module, a part:

    warden           watching, and the public names (warden/__init__.py)
    warden.decide    all that refuses, grants and preempts (the rooms in warden/policy)
    warden.requests  and others: each room that is rarely needed, alone
    warden.X_viper   machine code, alone: a board that cannot load it imports warden.X_plain, or
                     does without

`part_of` is the one place that says which room goes where. `join` drops the imports between rooms
of a part, and has those of other rooms name their part. The rooms keep to a few rules that make it
this simple, and `join` raises JoinError where one does not: see `checks`.

The manifest of a firmware imports this package by its path, under the name `parts`: it needs the
standard library only, and nothing else of boardwarden.
"""

from .joining import Part, join, write
from .places import PACKAGES, part_of, read_rooms, room_files, runs_on
from .room import JoinError

__all__ = [
    "PACKAGES",
    "JoinError",
    "Part",
    "join",
    "part_of",
    "read_rooms",
    "room_files",
    "runs_on",
    "write",
]
