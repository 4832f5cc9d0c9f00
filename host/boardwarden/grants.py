"""What the board granted and decided: frozen values in bytes, seconds and fractions of one.

Ids are the board's; `*_s` of a moment is the board's uptime. `resource`, `priority` and `state` are
plain numbers where the board is newer than this package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import _clock
from .models import Action, Level, Model, OperationState, Priority, ResourceType


@dataclass(frozen=True)
class Ending(Model):
    """A grant that may end by itself."""

    _left_s: float | None = field(default=None, repr=False, compare=False, kw_only=True)
    _received_at: float = field(default=0.0, repr=False, compare=False, kw_only=True)

    @property
    def remaining_s(self) -> float | None:
        """Seconds until it ends by itself, now; None if it does not."""
        if self._left_s is None:
            return None
        return max(0.0, self._left_s - (_clock.passed_s() - self._received_at))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, and the time that remains at this moment."""
        return {**super().to_dict(), "remaining_s": self.remaining_s}


@dataclass(frozen=True)
class Lease(Ending):
    """A grant. `amount` is in bytes, bytes a second, or, of CPU_TIME, a fraction of a core.

    `committed`: its holder has taken it, so that it shows in the board's figures.
    """

    id: int = 0
    resource: ResourceType | int = ResourceType.MEMORY
    amount: float = 0
    owner: str = ""
    priority: Priority | int = Priority.NORMAL
    session: int | None = None
    granted_s: float | None = None
    committed: bool = False
    mount: str | None = None


@dataclass(frozen=True)
class Operation(Ending):
    """An operation that runs on the board, or waits for a place.

    What remains is its time, or its grace once it is STOPPING; `why` it must stop is "preempted"
    or "timed out".
    """

    id: int = 0
    name: str = ""
    priority: Priority | int = Priority.NORMAL
    state: OperationState | int = OperationState.WAITING
    progress: float | None = None
    text: str = ""
    session: int | None = None
    began_s: float | None = None
    memory_bytes: int | None = None
    why: str | None = None


@dataclass(frozen=True)
class BoardSession(Ending):
    """A session on the board: an owner of leases and operations, with its quotas."""

    id: int = 0
    name: str = ""
    memory_bytes: int | None = None
    storage_bytes: int | None = None
    operations: int | None = None


@dataclass(frozen=True)
class Threshold(Model):
    """A watched metric; levels and `value` are in the unit of the status.

    `value` is the figure when the level changed last.
    """

    metric: str = ""
    warn: float | None = None
    critical: float | None = None
    clear: float | None = None
    hold_s: float = 0.0
    action: Action | int = Action.TELL
    level: Level | int = Level.CLEAR
    value: float | None = None


@dataclass(frozen=True)
class Limits(Model):
    """What `set_limits()` sets; `memory_reserve` is a fraction of the heap and of each mount.

    `max_operations` may run at once; `operation_timeout_s` is for those that set none. A metered
    task that takes more than its lease for `overrun_s` is cancelled; 0: never.
    """

    max_operations: int | None = None
    operation_timeout_s: float | None = None
    memory_reserve: float | None = None
    overrun_s: float | None = None


@dataclass(frozen=True)
class Meter(Model):
    """What a task or thread took between the last two samples; None of what cannot be measured.

    `cpu` is a fraction of a core, `worst_s` its longest step, `lease` the id of the lease of
    CPU_TIME that it is held to.
    """

    id: int = 0
    name: str = ""
    kind: str = "task"
    priority: Priority | int = Priority.NORMAL
    cpu: float | None = None
    worst_s: float | None = None
    steps: int | None = None
    lease: int | None = None


@dataclass(frozen=True)
class MemoryProfile(Model):
    """How much the heap grew during operations of one name; `count` of them were measured."""

    name: str = ""
    count: int = 0
    typical_bytes: int | None = None
    worst_bytes: int | None = None


@dataclass(frozen=True)
class Event(Model):
    """Something that happened; docs/board.md says what subject, detail and value are, by kind.

    `number` counts the events of a boot, from 0: it and `boot_id` identify an event. `subject` is
    an id, a metric's name, what an exception ended, or how far a hang is. `missed` is how many just
    before it were lost for good.
    """

    number: int = 0
    kind: str = ""
    uptime_s: float = 0.0
    subject: int | str | None = None
    detail: str | None = None
    value: float | None = None
    missed: int = 0
    boot_id: int | None = None


def begins_hang(event: Event) -> bool:
    """Return whether an event says that a hang began; others say how one goes on and ends."""
    return event.kind == "hang" and event.subject in ("begun", "late")
