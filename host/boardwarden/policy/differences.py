"""Compares two policies, and returns the requests that turn one into the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from boardwarden import _arguments
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.errors import PolicyError
from boardwarden.grants import Limits, Threshold
from boardwarden.models import Model
from warden_schema import ids

from .model import Policy, SessionQuota, set_of

_STOPPED = "The board's monitoring is stopped; the policy must name an interval, too."


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
    args = _arguments.monitoring(interval, wanted.budget)
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
        yield Step(ids.SET_LIMITS, _arguments.limits(*args), differences)


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
        args = _arguments.threshold(metric, None, None, None, 0, 0)
        yield Step(ids.SET_THRESHOLD, args, (Difference(f"threshold.{metric}", old[metric], None),))
    for metric, each in new.items():
        is_now = old.get(metric)
        if is_now is None or _set(is_now) != _set(each):
            args = _arguments.threshold(metric, *_set(each))
            difference = Difference(f"threshold.{metric}", is_now, each)
            yield Step(ids.SET_THRESHOLD, args, (difference,))


def _set(each: Threshold) -> tuple[Any, ...]:
    """Return the settings of a threshold, without its present level and value."""
    return each.warn, each.critical, each.clear, each.hold_s, each.action


def _quotas(before: tuple[SessionQuota, ...], wanted: tuple[SessionQuota, ...]) -> Iterator[Step]:
    old, new = ({each.name: each for each in found} for found in (before, wanted))
    for name in sorted(old.keys() - new.keys()):
        args = _arguments.quota(name, None, None, None, None)
        yield Step(ids.SET_QUOTA, args, (Difference(f"session.{name}", old[name], None),))
    for name, each in new.items():
        if old.get(name) != each:
            figures = (each.memory_bytes, each.storage_bytes, each.operations, each.ttl_s)
            difference = Difference(f"session.{name}", old.get(name), each)
            yield Step(ids.SET_QUOTA, _arguments.quota(name, *figures), (difference,))
