"""All metrics, in the order in which a scrape shows them.

Of each there is one definition, from which the names of Prometheus and OpenTelemetry follow. A
board that decides has a figure for each resource, priority and state, 0 too, so that no series
begins in the middle of what it counts; one that only measures has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from boardwarden import Level, LinkStatus, OperationState, Priority, ResourceType, Status, Storage
from boardwarden.models import SystemHeap, enum_name
from warden_schema import ids

from .watched import OTHER, Snapshot, updated_at

Kind = Literal["gauge", "counter", "info"]
Point = tuple[tuple[str, ...], float | None]  # values of the metric's own labels, and the figure
Read = Callable[[Snapshot], Iterable[Point]]

# UCUM's units, as OpenTelemetry has them, and what Prometheus' names end in. The rules are those of
# OpenTelemetry's "Prometheus and OpenMetrics Compatibility": what a collector makes of our OTLP has
# the names that a scrape has.
_SUFFIXES = {"By": "bytes", "By/s": "bytes_per_second", "s": "seconds", "1": "ratio", "dBm": "dbm"}


@dataclass(frozen=True)
class Metric:
    """`name` is dotted; `unit` is UCUM's, in braces what is counted, empty for a state.

    No series has the boot as a label, which each restart would make anew: `board.info` says it.
    """

    name: str
    unit: str
    help: str
    read: Read
    labels: tuple[str, ...] = ()
    kind: Kind = "gauge"
    when_down: bool = False  # exported of a board that is not there, too

    @property
    def otel_name(self) -> str:
        """The name by OpenTelemetry's conventions: dots, no unit, no `_total`."""
        return f"boardwarden.{self.name}"

    @property
    def prometheus_name(self) -> str:
        """The family's name by Prometheus' conventions, without `_total` and `_info`."""
        words = f"boardwarden.{self.name}".removesuffix(".info").replace(".", "_")
        suffix = _SUFFIXES.get(self.unit, "")
        return f"{words}_{suffix}" if suffix else words

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The names of its labels: which board, and its own."""
        return ("board", *self.labels)

    def points(self, snapshot: Snapshot) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield the values of all labels, and the figure; nothing for unknown figures."""
        if not (snapshot.up or self.when_down):
            return
        for values, figure in self.read(snapshot):
            if figure is not None:
                yield (snapshot.address, *values), float(figure)


_PRIORITIES = [enum_name(priority) for priority in Priority]
# Causes that a board infers or a port tells, and whether they are expected; each has a series from
# the start, so that the first one is an increase.
_RESETS = (
    *(("exception", False), ("hang", False), ("wdt", False), ("soft", False), ("soft", True)),
    *(("threshold", True), ("hard", True), ("pwron", True), ("deepsleep", True)),
)
_STATES = [enum_name(state) for state in OperationState if state != OperationState.ENDED]


def leases(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many leases there are, by resource and priority."""
    if not snapshot.decides:
        return []
    kinds = [
        (enum_name(resource), priority) for resource in ResourceType for priority in _PRIORITIES
    ]
    found = Counter(
        (enum_name(each.resource), enum_name(each.priority)) for each in snapshot.leases
    )
    return [(kind, found[kind]) for kind in dict.fromkeys([*kinds, *found])]


def _leased(resource: ResourceType) -> Callable[[Snapshot], Iterable[Point]]:
    def read(snapshot: Snapshot) -> Iterable[Point]:
        if not snapshot.decides:
            return []
        found: dict[str, float] = dict.fromkeys(_PRIORITIES, 0.0)
        for lease in snapshot.leases:
            if lease.resource == resource:
                priority = enum_name(lease.priority)
                found[priority] = found.get(priority, 0.0) + lease.amount
        return [((priority,), amount) for priority, amount in found.items()]

    return read


def operations(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many operations there are, by priority and state."""
    if not snapshot.decides:
        return []
    kinds = [(priority, state) for priority in _PRIORITIES for state in _STATES]
    found = Counter(
        (enum_name(each.priority), enum_name(each.state)) for each in snapshot.operations
    )
    return [(kind, found[kind]) for kind in dict.fromkeys([*kinds, *found])]


def sessions(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many sessions are open."""
    return [((), len(snapshot.sessions))] if snapshot.decides else []


def thresholds(snapshot: Snapshot) -> Iterable[Point]:
    """Yield 1 for the level of each watched metric, and 0 for its other levels."""
    for each in snapshot.thresholds:
        for level in dict.fromkeys([*Level, each.level]):
            yield (each.metric, enum_name(level)), level == each.level


def events(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many events came, by kind."""
    if not (snapshot.decides or snapshot.events):
        return []
    return [((kind,), snapshot.events.get(kind, 0)) for kind in (*ids.EVENT_KINDS, OTHER)]


def missed_events(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many events were lost for good."""
    return [((), snapshot.missed_events)] if snapshot.decides or snapshot.events else []


def resets(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many resets there were, by cause and whether they were expected."""
    found = snapshot.crashes.resets
    kinds = dict.fromkeys([*_RESETS, *found]) if snapshot.crashes.has_lists else ()
    return [((cause, str(expected).lower()), found.get((cause, expected), 0))
            for cause, expected in kinds]  # fmt: skip


def exceptions(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how many exceptions ended something, by what they ended."""
    found = snapshot.crashes.exceptions
    kinds = dict.fromkeys([*ids.EXCEPTION_KINDS, *found]) if snapshot.crashes.has_lists else ()
    return [((kind,), found.get(kind, 0)) for kind in kinds]


def agent_writes(snapshot: Snapshot) -> Iterable[Point]:
    """Yield how often the agent wrote to flash, by mount and purpose."""
    for row in snapshot.status.storage:
        writes = {} if row.agent_writes is None else row.agent_writes.to_dict()
        for purpose, count in writes.items():
            yield (row.mount or "", purpose), count


def _of_status(get: Callable[[Status], float | None]) -> Read:
    return lambda snapshot: [((), get(snapshot.status))]


def _of_system_heap(get: Callable[[SystemHeap], float | None]) -> Read:
    def read(snapshot: Snapshot) -> Iterable[Point]:
        heap = snapshot.status.system_heap
        return [] if heap is None else [((), get(heap))]

    return read


def _of_link(get: Callable[[LinkStatus], float | None]) -> Read:
    return lambda snapshot: [((), get(snapshot.link))]


def _of_storage(get: Callable[[Storage], float | None]) -> Read:
    return lambda snapshot: [((row.mount or "",), get(row)) for row in snapshot.status.storage]


def _identity(snapshot: Snapshot) -> Iterable[Point]:
    identity = snapshot.status.board
    known = (getattr(identity, name) or "" for name in _IDENTITY)
    return [((*known, snapshot.boot), 1)]


_IDENTITY = ("machine", "firmware", "port", "unique_id", "reset_cause", "protocol")
_MOUNT = ("mount",)

UP = Metric(
    "up",
    "",
    "Whether the board answers (1) or not (0).",
    lambda snapshot: [((), snapshot.up)],
    when_down=True,
)

_BOARD = (
    Metric("board.info", "", "What the board is, and which boot.", _identity,
           (*_IDENTITY, "boot"), kind="info"),
    Metric("uptime", "s", "Since the agent started.", _of_status(lambda s: s.cpu.uptime_s)),
    Metric("sample.interval", "s", "Between samples; 0: monitoring is stopped.",
           _of_status(lambda s: s.interval_s)),
    Metric("sample.wanted_interval", "s", "As asked for; the agent's budget may stretch it.",
           _of_status(lambda s: s.wanted_interval_s)),
    Metric("sample.timestamp", "s", "When the newest sample came, by the host's clock.",
           _of_status(lambda s: updated_at(s) if s.interval_s != 0 else None)),  # as they are shown
)  # fmt: skip

_MEMORY = (
    Metric("memory.size", "By", "The MicroPython heap.",
           _of_status(lambda s: s.memory.total_bytes)),
    Metric("memory.used", "By", "Used, garbage included.",
           _of_status(lambda s: s.memory.used_bytes)),
    Metric("memory.available", "By", "Free.", _of_status(lambda s: s.memory.available_bytes)),
    Metric("memory.live", "By", "What the last collection left.",
           _of_status(lambda s: s.memory.live_bytes)),
    Metric("memory.largest_free_block", "By", "The largest free block.",
           _of_status(lambda s: s.memory.largest_free_block_bytes)),
    Metric("memory.fragmentation", "1", "Free memory outside the largest free block, as a share.",
           _of_status(lambda s: s.memory.fragmentation)),
    Metric("memory.low_water", "By", "The least that live bytes ever left free.",
           _of_status(lambda s: s.memory.low_water_bytes)),
    Metric("memory.usage", "1", "Used, garbage included, as a share of the heap.",
           _of_status(lambda s: s.memory.usage)),
    Metric("system_heap.free", "By", "Free in the system's own heap; of ESP32 only.",
           _of_system_heap(lambda heap: heap.free_bytes)),
    Metric("system_heap.largest_free_block", "By", "The largest free block there.",
           _of_system_heap(lambda heap: heap.largest_free_block_bytes)),
    Metric("system_heap.low_water", "By", "The least that was ever free there since the reset.",
           _of_system_heap(lambda heap: heap.low_water_bytes)),
)  # fmt: skip

_LOAD = (
    Metric("cpu.usage", "1", "Share of the time that asyncio did not wait.",
           _of_status(lambda s: s.cpu.usage)),
    Metric("tasks", "{task}", "Tasks of asyncio.", _of_status(lambda s: s.cpu.active_tasks)),
    Metric("threads", "{thread}", "Threads, the main one too.",
           _of_status(lambda s: s.cpu.active_threads)),
    Metric("loop_lag.mean", "s", "How late tasks run, on average since the sample before.",
           _of_status(lambda s: s.cpu.loop_lag_s)),
    Metric("loop_lag.worst", "s", "The longest step of any task since the sample before.",
           _of_status(lambda s: s.cpu.loop_lag_worst_s)),
)  # fmt: skip

_STORAGE = (
    Metric("storage.size", "By", "The file system.",
           _of_storage(lambda row: row.total_bytes), _MOUNT),
    Metric("storage.used", "By", "Used.", _of_storage(lambda row: row.used_bytes), _MOUNT),
    Metric("storage.available", "By", "Free for applications.",
           _of_storage(lambda row: row.available_bytes), _MOUNT),
    Metric("storage.usage", "1", "Used, as a share.", _of_storage(lambda row: row.usage), _MOUNT),
)  # fmt: skip

_NETWORK = (
    Metric("network.connected", "", "Whether the WLAN is connected.",
           _of_status(lambda s: s.network.connected)),
    Metric("network.signal", "dBm", "Signal strength of the WLAN.",
           _of_status(lambda s: s.network.rssi_dbm)),
    Metric("network.sent", "By", "Through counted sockets.",
           _of_status(lambda s: s.network.sent_bytes), kind="counter"),
    Metric("network.received", "By", "Through counted sockets.",
           _of_status(lambda s: s.network.received_bytes), kind="counter"),
)  # fmt: skip

_GRANTS = (
    Metric("leases", "{lease}", "Leases that have not ended.", leases,
           ("resource", "priority")),
    Metric("leased.memory", "By", "Memory that is leased.",
           _leased(ResourceType.MEMORY), ("priority",)),
    Metric("leased.storage", "By", "Storage that is leased.",
           _leased(ResourceType.STORAGE), ("priority",)),
    Metric("leased.cpu_time", "1", "Leased share of a core.",
           _leased(ResourceType.CPU_TIME), ("priority",)),
    Metric("leased.network_bandwidth", "By/s", "Leased bandwidth.",
           _leased(ResourceType.NETWORK_BANDWIDTH), ("priority",)),
    Metric("operations", "{operation}", "Operations that have, or wait for, a place.",
           operations, ("priority", "state")),
    Metric("operation.limit", "{operation}", "How many may run at once.",
           lambda snapshot: [((), snapshot.limits.max_operations)]),
    Metric("sessions", "{session}", "Open sessions.", sessions),
    Metric("memory.reserve", "1", "Share of the heap that is never granted.",
           lambda snapshot: [((), snapshot.limits.memory_reserve)]),
    Metric("threshold.state", "", "1 for the level at which a watched figure is.",
           thresholds, ("metric", "level")),
    Metric("events", "{event}", "What happened on the board in this boot.", events,
           ("kind",), kind="counter"),
    Metric("missed_events", "{event}", "Events that were lost before they came here.",
           missed_events, kind="counter"),
)  # fmt: skip

_CRASHES = (
    Metric("resets", "{reset}", "Resets since serve began; unexpected ones are crashes.", resets,
           ("cause", "expected"), kind="counter", when_down=True),
    Metric("exceptions", "{exception}", "Exceptions that ended something, since serve began.",
           exceptions, ("kind",), kind="counter", when_down=True),
    Metric("crash_free", "s", "Uptime since the last reset that was not expected, at least.",
           _of_status(lambda s: s.board.crash_free_s)),
    Metric("boots", "{boot}", "Boots that the board counted.",
           _of_status(lambda s: s.board.boots), kind="counter"),
    Metric("storage.agent_writes", "{write}", "Files that the agent wrote or removed.",
           agent_writes, ("mount", "purpose"), kind="counter"),
)  # fmt: skip

_AGENT = (
    Metric("agent.cpu.usage", "1", "Share of the core that the agent takes.",
           _of_status(lambda s: s.overhead.cpu)),
    Metric("agent.cpu.budget", "1", "Share of the core that the agent may take.",
           _of_status(lambda s: s.overhead.budget)),
    Metric("agent.sent", "By/s", "What the agent sends over the link.",
           _of_status(lambda s: s.overhead.bytes_per_s)),
    Metric("agent.dropped_frames", "{frame}", "Dropped by the board: the link did not drain.",
           _of_status(lambda s: s.overhead.dropped_frames), kind="counter"),
)  # fmt: skip

_LINK = (
    Metric("link.frames", "{frame}", "Frames that were understood.",
           _of_link(lambda link: link.frames), kind="counter"),
    Metric("link.bad_frames", "{frame}", "Frames that came damaged.",
           _of_link(lambda link: link.bad_frames), kind="counter"),
    Metric("link.malformed_frames", "{frame}", "Frames that came whole, and make no sense.",
           _of_link(lambda link: link.malformed_frames), kind="counter"),
    Metric("link.skipped_frames", "{frame}", "Frames of a kind unknown to this version.",
           _of_link(lambda link: link.skipped_frames), kind="counter"),
    Metric("link.gaps", "{gap}", "Times that something was missed on the link.",
           _of_link(lambda link: link.gaps), kind="counter"),
    Metric("link.reconnects", "{reconnect}", "Times that the link was opened again.",
           _of_link(lambda link: link.reconnects), kind="counter"),
    Metric("link.console", "By", "What the application printed.",
           _of_link(lambda link: link.text_bytes), kind="counter"),
)  # fmt: skip

METRICS = (
    *(UP, *_BOARD, *_MEMORY, *_LOAD, *_STORAGE, *_NETWORK, *_GRANTS, *_CRASHES, *_AGENT, *_LINK),
)
