"""The model of a policy: what a board is to do by itself, and how two of them differ.

Its values are in the host's units, and exactly those that a board would hold: what a file says and
what the board then sends are equal. None, of a value or of a whole list, is "as it is".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from warden_schema import ids

from . import _conversion
from ._conversion import from_thousandths
from ._quantities import THRESHOLD_METRICS
from .errors import PolicyError
from .grants import Limits, Threshold
from .models import Model

# What a board watches unless its application or policy says otherwise.
_NUMBER = THRESHOLD_METRICS.index(ids.DEFAULT_THRESHOLD[0])
MEMORY_PROTECTION = _conversion.threshold_from_row(
    (_NUMBER, *ids.DEFAULT_THRESHOLD[1:], 0, None), 0.0
)
_STOPPED = "The board's monitoring is stopped; the policy must name an interval, too."


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
    number, *levels, hold_ms, act = _conversion.threshold(
        metric, warn, critical, clear, hold, action
    )
    if levels[0] is None and levels[1] is None:
        raise ValueError(f"A threshold on {metric} needs warn or critical.")
    if levels[2] is None:
        levels[2] = levels[1] if levels[0] is None else levels[0]
    return _conversion.threshold_from_row((number, *levels, hold_ms, act, 0, None), 0.0)


def quota(name: Any, memory: Any, storage: Any, operations: Any, ttl: Any) -> SessionQuota:
    """Return a quota as a board holds it; raise ValueError for what makes no sense."""
    name, memory, storage, operations, ttl_ms = _conversion.quota(
        name, memory, storage, operations, ttl
    )
    return SessionQuota(name, memory, storage, operations, from_thousandths(ttl_ms))


def in_order(thresholds: list[Threshold]) -> tuple[Threshold, ...]:
    """Return thresholds in the order of their metrics."""
    known = {metric: place for place, metric in enumerate(THRESHOLD_METRICS)}
    return tuple(sorted(thresholds, key=lambda each: known.get(each.metric, len(known))))


@dataclass(frozen=True)
class Difference(Model):
    """A value before and after: a number, a Threshold, a SessionQuota or None.

    `key` is as a policy file has it: "limits.overrun", "threshold.cpu", "session.upload".
    """

    key: str = ""
    before: Any = None
    after: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name; of thresholds what is set."""
        found = super().to_dict()
        for name, value in (("before", self.before), ("after", self.after)):
            if isinstance(value, Threshold):
                found[name] = set_of(value)
        return found


@dataclass(frozen=True)
class Step(Model):
    """One request to the board, and what it changes."""

    operation: int = ids.PING
    arguments: tuple[Any, ...] = ()
    differences: tuple[Difference, ...] = ()


def steps(before: Policy, wanted: Policy) -> tuple[Step, ...]:
    """Return the requests that turn `before` into `wanted`; removals come first.

    Raises PolicyError where only the budget is given and the board's monitoring is stopped, and
    where a threshold is to go whose metric only a newer version knows.
    """
    found = [*_limits(before.limits, wanted.limits)]
    if wanted.thresholds is not None:
        found += _thresholds(before.thresholds or (), wanted.thresholds)
    if wanted.quotas is not None:
        found += _quotas(before.quotas or (), wanted.quotas)
    return (*_monitoring(before, wanted), *found)


def _monitoring(before: Policy, wanted: Policy) -> Iterator[Step]:
    pairs = {
        "interval": (before.interval_s, wanted.interval_s),
        "budget": (before.budget, wanted.budget),
    }
    differences = tuple(_differing(pairs))
    if not differences:
        return
    interval = before.interval_s if wanted.interval_s is None else wanted.interval_s
    if not interval:
        raise PolicyError(_STOPPED)
    args = _conversion.monitoring(interval, wanted.budget)
    yield Step(ids.START_MONITORING, args, differences)


def _limits(before: Limits, wanted: Limits) -> Iterator[Step]:
    pairs = {
        f"limits.{item.name.removesuffix('_s')}": (
            getattr(before, item.name),
            getattr(wanted, item.name),
        )
        for item in fields(Limits)
    }
    if differences := tuple(_differing(pairs)):
        args = (getattr(wanted, item.name) for item in fields(Limits))
        yield Step(ids.SET_LIMITS, _conversion.limits(*args), differences)


def _differing(pairs: dict[str, tuple[Any, Any]]) -> Iterator[Difference]:
    for key, (old, new) in pairs.items():
        if new is not None and new != old:
            yield Difference(key, old, new)


def _thresholds(before: tuple[Threshold, ...], wanted: tuple[Threshold, ...]) -> Iterator[Step]:
    old, new = ({each.metric: each for each in found} for found in (before, wanted))
    for metric in sorted(old.keys() - new.keys()):
        if metric not in THRESHOLD_METRICS:
            raise PolicyError(
                f"The board has a threshold on metric {metric}, which this host does not know: "
                "upgrade boardwarden."
            )
        args = _conversion.threshold(metric, None, None, None, 0, 0)
        yield Step(ids.SET_THRESHOLD, args, (Difference(f"threshold.{metric}", old[metric], None),))
    for metric, each in new.items():
        is_now = old.get(metric)
        if is_now is None or _set(is_now) != _set(each):
            difference = Difference(f"threshold.{metric}", is_now, each)
            yield Step(ids.SET_THRESHOLD, arguments(each), (difference,))


def arguments(each: Threshold) -> tuple[Any, ...]:
    """Return the arguments of the request that sets a threshold."""
    return _conversion.threshold(each.metric, *_set(each))


def _set(each: Threshold) -> tuple[Any, ...]:
    """Return the settings of a threshold, without its present level and value."""
    return each.warn, each.critical, each.clear, each.hold_s, each.action


def _quotas(before: tuple[SessionQuota, ...], wanted: tuple[SessionQuota, ...]) -> Iterator[Step]:
    old, new = ({each.name: each for each in found} for found in (before, wanted))
    for name in sorted(old.keys() - new.keys()):
        args = _conversion.quota(name, None, None, None, None)
        yield Step(ids.SET_QUOTA, args, (Difference(f"session.{name}", old[name], None),))
    for name, each in new.items():
        if old.get(name) != each:
            figures = (each.memory_bytes, each.storage_bytes, each.operations, each.ttl_s)
            difference = Difference(f"session.{name}", old.get(name), each)
            yield Step(ids.SET_QUOTA, _conversion.quota(name, *figures), (difference,))
