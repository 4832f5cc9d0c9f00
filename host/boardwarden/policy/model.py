"""The model of a policy: what a board is to do by itself.

Its values are in the host's units, and exactly those that a board would hold: what a file says and
what the board then sends are equal. None, of a value or of a whole list, is "as it is".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from boardwarden import _arguments
from boardwarden._mirror import tables
from boardwarden._mirror.tables import from_thousandths
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.grants import Limits, Threshold
from boardwarden.models import Model
from warden_schema import ids

# What a board watches unless its application or policy says otherwise.
_NUMBER = THRESHOLD_METRICS.index(ids.DEFAULT_THRESHOLD[0])
MEMORY_PROTECTION = tables.threshold_from_row(
    (_NUMBER, *ids.DEFAULT_THRESHOLD[1:], 0, None), 0.0, float
)


@dataclass(frozen=True)
class SessionQuota(Model):
    """The quotas of sessions of one name, if the application sets none.

    None: as the board allows, and without an end of its own.
    """

    name: str = ""
    memory_bytes: int | None = None
    storage_bytes: int | None = None
    operations: int | None = None
    ttl_s: float | None = None


@dataclass(frozen=True)
class Policy(Model):
    """`interval_s` is between samples, `budget` the share of a core that the agent may take.

    `thresholds` are all that the board watches, in the order of their metrics; `quotas` all that it
    has for sessions, by name.
    """

    interval_s: float | None = None
    budget: float | None = None
    limits: Limits = field(default_factory=Limits)
    thresholds: tuple[Threshold, ...] | None = None
    quotas: tuple[SessionQuota, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name; of thresholds what is set, not what the figure is."""
        found = super().to_dict()
        if self.thresholds is not None:
            found["thresholds"] = [set_of(each) for each in self.thresholds]
        return found


def set_of(each: Threshold) -> dict[str, Any]:
    """Return a threshold's settings by name, without its present level and value."""
    found = each.to_dict()
    return {name: found[name] for name in found if name not in ("level", "value")}


def threshold(
    metric: str, warn: Any, critical: Any, clear: Any, hold: Any, action: Any
) -> Threshold:
    """Return a threshold as a board holds it; raise ValueError for what makes no sense."""
    number, *levels, hold_ms, act = _arguments.threshold(
        metric, warn, critical, clear, hold, action
    )
    if levels[0] is None and levels[1] is None:
        raise ValueError(f"A threshold on {metric} needs warn or critical.")
    if levels[2] is None:
        levels[2] = levels[1] if levels[0] is None else levels[0]
    return tables.threshold_from_row((number, *levels, hold_ms, act, 0, None), 0.0, float)


def quota(name: Any, memory: Any, storage: Any, operations: Any, ttl: Any) -> SessionQuota:
    """Return a quota as a board holds it; raise ValueError for what makes no sense."""
    name, memory, storage, operations, ttl_ms = _arguments.quota(
        name, memory, storage, operations, ttl
    )
    return SessionQuota(name, memory, storage, operations, from_thousandths(ttl_ms))


def in_order(thresholds: list[Threshold]) -> tuple[Threshold, ...]:
    """Return thresholds in the order of their metrics."""
    known = {metric: place for place, metric in enumerate(THRESHOLD_METRICS)}
    return tuple(sorted(thresholds, key=lambda each: known.get(each.metric, len(known))))
