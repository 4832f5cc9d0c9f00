"""The words that a board has numbers for. A number from a newer board stays a number."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

E = TypeVar("E", bound=IntEnum)


class ResourceType(IntEnum):
    """What can be allocated: bytes of memory or storage, a share of a core, bytes a second."""

    MEMORY = 0
    STORAGE = 1
    CPU_TIME = 2
    NETWORK_BANDWIDTH = 3


class Priority(IntEnum):
    """Who comes first: LOW < NORMAL < HIGH < CRITICAL. HIGH and CRITICAL preempt."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3


class OperationState(IntEnum):
    """Where an operation is: STOPPING was told to, OVERDUE did not and lost its place."""

    WAITING = 0
    ACTIVE = 1
    STOPPING = 2
    OVERDUE = 3
    ADMITTING = 4
    ENDED = 5


class Level(IntEnum):
    """Where a threshold's figure is."""

    CLEAR = 0
    WARN = 1
    CRITICAL = 2


class Action(IntEnum):
    """What a threshold does: TELL an event; PROTECT the board, too; at last RESET it, too."""

    TELL = 0
    PROTECT = 1
    RESET = 2


class Kept(IntEnum):
    """What became of the policy that a board keeps: BROKEN, and ignored, if it was damaged."""

    NOTHING = 0
    IN_FORCE = 1
    BROKEN = 2


def member(kind: type[E], number: int) -> E | int:
    """Return what the number stands for; itself, where only a newer version knows."""
    try:
        return kind(number)
    except ValueError:
        return number


def word(value: object) -> str:
    """Return a member's name as people and JSON have it, "cpu_time"; else the value's text."""
    return value.name.lower() if isinstance(value, IntEnum) else str(value)
