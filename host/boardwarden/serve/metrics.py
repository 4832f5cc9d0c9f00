"""All metrics, in the order in which a scrape shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from boardwarden import LinkStatus, Status, Storage

from . import tables
from .metric import Metric, Point, Read
from .snapshot import Snapshot


def _of_status(get: Callable[[Status], float | None]) -> Read:
    return lambda snapshot: [((), get(snapshot.status))]


def _of_link(get: Callable[[LinkStatus], float | None]) -> Read:
    return lambda snapshot: [((), get(snapshot.link))]


def _of_storage(get: Callable[[Storage], float | None]) -> Read:
    return lambda snapshot: [((row.mount or "",), get(row)) for row in snapshot.status.storage]


def _identity(snapshot: Snapshot) -> Iterable[Point]:
    told = snapshot.status.board
    return [(tuple(getattr(told, name) or "" for name in _IDENTITY), 1)]


def _updated(status: Status) -> float | None:
    """Return when the figures came; not where they are not shown."""
    known = status.last_updated is not None and status.interval_s != 0
    return status.last_updated.timestamp() if known and status.last_updated else None


_IDENTITY = ("machine", "firmware", "port", "unique_id", "reset_cause", "protocol")
_MOUNT = ("mount",)

UP = Metric(
    "up",
    "",
    "Whether the board answers (1) or not (0).",
    lambda snapshot: [((), snapshot.up)],
    of_boot=False,
    when_down=True,
)

_BOARD = (
    Metric("board.info", "", "What the board is.", _identity, _IDENTITY, kind="info"),
    Metric("uptime", "s", "Since the agent started.", _of_status(lambda s: s.cpu.uptime_s)),
    Metric("sample.interval", "s", "Between samples; 0: monitoring is stopped.",
           _of_status(lambda s: s.interval_s)),
    Metric("sample.wanted_interval", "s", "As asked for; the agent's budget may stretch it.",
           _of_status(lambda s: s.wanted_interval_s)),
    Metric("sample.timestamp", "s", "When the newest sample came, by the host's clock.",
           _of_status(_updated)),
)  # fmt: skip

_MEMORY = (
    Metric("memory.size", "By", "The MicroPython heap.",
           _of_status(lambda s: s.memory.total_bytes)),
    Metric("memory.used", "By", "Used, garbage included.",
           _of_status(lambda s: s.memory.used_bytes)),
    Metric("memory.available", "By", "Free.", _of_status(lambda s: s.memory.available_bytes)),
    Metric("memory.live", "By", "What the last collection left.",
           _of_status(lambda s: s.memory.live_bytes)),
    Metric("memory.largest_free_block", "By", "The largest free block; needs the C module.",
           _of_status(lambda s: s.memory.largest_free_block_bytes)),
    Metric("memory.usage", "1", "Used, garbage included, as a share of the heap.",
           _of_status(lambda s: s.memory.usage)),
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
    Metric("leases", "{lease}", "Leases that have not ended.", tables.leases,
           ("resource", "priority")),
    Metric("leased.memory", "By", "Memory that is leased.", tables.leased_memory, ("priority",)),
    Metric("leased.storage", "By", "Storage that is leased.", tables.leased_storage,
           ("priority",)),
    Metric("leased.cpu_time", "1", "Leased share of a core.", tables.leased_cpu_time,
           ("priority",)),
    Metric("leased.network_bandwidth", "By/s", "Leased bandwidth.", tables.leased_bandwidth,
           ("priority",)),
    Metric("operations", "{operation}", "Operations that have, or wait for, a place.",
           tables.operations, ("priority", "state")),
    Metric("operation.limit", "{operation}", "How many may run at once.",
           lambda snapshot: [((), snapshot.limits.max_operations)]),
    Metric("sessions", "{session}", "Open sessions.", tables.sessions),
    Metric("memory.reserve", "1", "Share of the heap that is never granted.",
           lambda snapshot: [((), snapshot.limits.memory_reserve)]),
    Metric("threshold.state", "", "1 for the level at which a watched figure is.",
           tables.thresholds, ("metric", "level")),
    Metric("events", "{event}", "What happened on the board in this boot.", tables.events,
           ("kind",), kind="counter"),
    Metric("missed_events", "{event}", "Events that were lost before they came here.",
           tables.missed_events, kind="counter"),
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
           _of_link(lambda link: link.frames), kind="counter", of_boot=False),
    Metric("link.bad_frames", "{frame}", "Frames that came damaged.",
           _of_link(lambda link: link.bad_frames), kind="counter", of_boot=False),
    Metric("link.skipped_frames", "{frame}", "Frames of a kind unknown to this version.",
           _of_link(lambda link: link.skipped_frames), kind="counter", of_boot=False),
    Metric("link.gaps", "{gap}", "Times that something was missed on the link.",
           _of_link(lambda link: link.gaps), kind="counter", of_boot=False),
    Metric("link.reconnects", "{reconnect}", "Times that the link was opened again.",
           _of_link(lambda link: link.reconnects), kind="counter", of_boot=False),
    Metric("link.console", "By", "What the application printed.",
           _of_link(lambda link: link.text_bytes), kind="counter", of_boot=False),
)  # fmt: skip

METRICS = (UP, *_BOARD, *_MEMORY, *_LOAD, *_STORAGE, *_NETWORK, *_GRANTS, *_AGENT, *_LINK)
