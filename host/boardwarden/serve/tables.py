"""The board's tables as figures: how many, how much, by resource, priority and state.

A board that decides has a figure for each of them, 0 too, so that no series begins in the middle of
what it counts; one that does not has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from boardwarden import Level, OperationState, Priority, ResourceType
from boardwarden.kinds import word
from warden_schema import ids

from .metric import Point
from .snapshot import Snapshot

_PRIORITIES = [word(priority) for priority in Priority]
_STATES = [word(state) for state in OperationState if state != OperationState.ENDED]


def leases(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many leases there are, by resource and priority."""
    if not snapshot.decides:
        return []
    kinds = [(word(resource), priority) for resource in ResourceType for priority in _PRIORITIES]
    found = Counter((word(each.resource), word(each.priority)) for each in snapshot.leases)
    return [(kind, found[kind]) for kind in dict.fromkeys([*kinds, *found])]


def _leased(resource: ResourceType) -> Callable[[Snapshot], Iterable[Point]]:
    def read(snapshot: Snapshot) -> Iterable[Point]:
        if not snapshot.decides:
            return []
        found: dict[str, float] = dict.fromkeys(_PRIORITIES, 0.0)
        for lease in snapshot.leases:
            if lease.resource == resource:
                priority = word(lease.priority)
                found[priority] = found.get(priority, 0.0) + lease.amount
        return [((priority,), amount) for priority, amount in found.items()]

    return read


leased_memory = _leased(ResourceType.MEMORY)
leased_storage = _leased(ResourceType.STORAGE)
leased_cpu_time = _leased(ResourceType.CPU_TIME)
leased_bandwidth = _leased(ResourceType.NETWORK_BANDWIDTH)


def operations(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many operations there are, by priority and state."""
    if not snapshot.decides:
        return []
    kinds = [(priority, state) for priority in _PRIORITIES for state in _STATES]
    found = Counter((word(each.priority), word(each.state)) for each in snapshot.operations)
    return [(kind, found[kind]) for kind in dict.fromkeys([*kinds, *found])]


def sessions(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many sessions are open."""
    return [((), len(snapshot.sessions))] if snapshot.decides else []


def thresholds(snapshot: Snapshot) -> Iterable[Point]:
    """Yield 1 for the level of each watched metric, and 0 for its other levels."""
    for each in snapshot.thresholds:
        for level in dict.fromkeys([*Level, each.level]):
            yield (each.metric, word(level)), level == each.level


def events(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many events came, by kind."""
    if not (snapshot.decides or snapshot.events):
        return []
    kinds = dict.fromkeys([*ids.EVENT_KINDS, *snapshot.events])
    return [((kind,), snapshot.events.get(kind, 0)) for kind in kinds]


def missed_events(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many events were lost for good."""
    return [((), snapshot.missed_events)] if snapshot.decides or snapshot.events else []
