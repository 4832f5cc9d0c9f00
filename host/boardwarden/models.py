"""The values of a mirror: frozen, in bytes, seconds and fractions of one.

Attribute names are the keys of `to_dict()` and of the command line's JSON. None is a figure that
cannot be had; `board.capabilities` has the reason. Every field has a default, so that a later
version can add fields. A number that only a newer board knows stays a number.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import IntEnum
from typing import Any

from . import _clock


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
    """An operation's state: STOPPING must stop, OVERDUE did not and lost its place."""

    WAITING = 0
    ACTIVE = 1
    STOPPING = 2
    OVERDUE = 3
    ADMITTING = 4
    ENDED = 5


class Level(IntEnum):
    """The present level of a threshold."""

    CLEAR = 0
    WARN = 1
    CRITICAL = 2


class Action(IntEnum):
    """What a threshold does: TELL sends an event, PROTECT also acts, RESET may also reset."""

    TELL = 0
    PROTECT = 1
    RESET = 2


class StoredPolicy(IntEnum):
    """The state of a board's stored policy; a BROKEN one is damaged, and ignored.

    SET_ASIDE: it refused or ended all for ten minutes, or three boots ended early under it.
    """

    NOTHING = 0
    IN_FORCE = 1
    BROKEN = 2
    SET_ASIDE = 3


def enum_name(value: object) -> str:
    """Return an enum member's name in lower case, "cpu_time"; of other values the text."""
    return value.name.lower() if isinstance(value, IntEnum) else str(value)


LEVELS = {enum_name(level): level for level in Level}


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, IntEnum):
        return enum_name(value)
    return value.isoformat() if isinstance(value, datetime) else value


class Model:
    """The base of all models: can be turned into a dict for JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name: models as dicts, words in lower case, times in ISO 8601."""
        names = (item.name for item in fields(self) if item.repr)  # type: ignore[arg-type]
        return {name: _plain(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class Memory(Model):
    """The MicroPython heap, from `gc.mem_free()` or the C module; `usage` is used of total.

    Used includes garbage; `live_bytes` is what the last collection left, `low_water_bytes` the
    least that these ever left free. `fragmentation` is the share of the free memory outside the
    largest free block, which is known only with the C module. docs/board.md says where each figure
    comes from.
    """

    total_bytes: int | None = None
    used_bytes: int | None = None
    available_bytes: int | None = None
    live_bytes: int | None = None
    largest_free_block_bytes: int | None = None
    usage: float | None = None
    fragmentation: float | None = None
    low_water_bytes: int | None = None


@dataclass(frozen=True)
class SystemHeap(Model):
    """ESP-IDF's own heap on ESP32, from which Wi-Fi and TLS take their memory.

    `low_water_bytes` is the least that was ever free since the reset.
    """

    free_bytes: int | None = None
    largest_free_block_bytes: int | None = None
    low_water_bytes: int | None = None


@dataclass(frozen=True)
class Cpu(Model):
    """Load, and how late tasks run: on average and at worst since the last sample.

    `usage` is the share of a core that asyncio did not spend waiting; it and the lag are None
    without asyncio. Uptime counts from `warden.start()`.
    """

    usage: float | None = None
    active_threads: int | None = None
    active_tasks: int | None = None
    loop_lag_s: float | None = None
    loop_lag_worst_s: float | None = None
    uptime_s: float | None = None


@dataclass(frozen=True)
class AgentWrites(Model):
    """How often the agent wrote or removed a file, by purpose: see docs/board.md."""

    resets: int = 0
    policy: int = 0
    note: int = 0
    budget: int = 0


@dataclass(frozen=True)
class Storage(Model):
    """One mounted file system, from `os.statvfs`; `usage` is used of total.

    Used and available may add up to less than total, by what the file system reserves.
    `agent_writes` is None but of the mount with the agent's files, once there is one.
    """

    mount: str | None = None
    total_bytes: int | None = None
    used_bytes: int | None = None
    available_bytes: int | None = None
    usage: float | None = None
    block_bytes: int | None = None  # what the others are multiples of
    agent_writes: AgentWrites | None = None


@dataclass(frozen=True)
class Network(Model):
    """The WLAN that the application made, and bytes through sockets of `warden.counted()`."""

    connected: bool | None = None
    rssi_dbm: int | None = None
    sent_bytes: int | None = None
    received_bytes: int | None = None


@dataclass(frozen=True)
class Overhead(Model):
    """What the agent itself costs: `cpu` is its share of a core, `budget` what it may be.

    It samples less often to keep to the budget. The counts are since it started.
    """

    cpu: float | None = None
    bytes_per_s: int | None = None
    dropped_frames: int | None = None
    budget: float | None = None
    bad_frames: int | None = None  # that came to the board broken
    faults: int | None = None  # exceptions inside the agent itself


@dataclass(frozen=True)
class Identity(Model):
    """Which board this is: `sys.implementation`, `sys.platform` and what `machine` says.

    `unique_id` is in hexadecimal; `boot_id` is new at each start of the agent; `protocol` is like
    "1.3". `boots` and `crash_free_s` (uptime since the last reset that was not expected, at least)
    are None where the board keeps no list of resets.
    """

    machine: str | None = None
    firmware: str | None = None
    port: str | None = None
    unique_id: str | None = None
    boot_id: int | None = None
    reset_cause: str | None = None
    protocol: str | None = None
    agent: str | None = None  # its version
    boots: int | None = None
    crash_free_s: int | None = None


@dataclass(frozen=True)
class Status(Model):
    """The last state that the board sent; `interval_s` is 0 if monitoring is stopped.

    `system_heap` is None but on ESP32.
    """

    memory: Memory = Memory()
    cpu: Cpu = Cpu()
    storage: tuple[Storage, ...] = ()
    network: Network = Network()
    overhead: Overhead = Overhead()
    interval_s: float | None = None
    wanted_interval_s: float | None = None  # shorter where the agent's budget does not allow it
    last_updated: datetime | None = None  # UTC, the host's clock
    board: Identity = Identity()
    system_heap: SystemHeap | None = None
    _received_at: float | None = field(default=None, repr=False, compare=False)

    @property
    def age_s(self) -> float | None:
        """Seconds since the figures came, now; None if none came yet."""
        return None if self._received_at is None else _clock.passed_s() - self._received_at

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, and the age at this moment."""
        return {**super().to_dict(), "age_s": self.age_s}


@dataclass(frozen=True)
class Capability(Model):
    """Whether the board can measure something, and if not, the reason, in words."""

    available: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class LinkStatus(Model):
    """What happened between board and host since the connection began."""

    frames: int = 0  # understood
    bad_frames: int = 0  # that the line damaged
    malformed_frames: int = 0  # that came whole, and are too long or malformed inside
    skipped_frames: int = 0  # of a kind that this version does not know
    gaps: int = 0  # times that something was missed
    dropped_frames: int | None = None  # by the board, because the link did not drain
    text_bytes: int = 0  # what the application printed
    reconnects: int = 0
    open: bool = True  # the port or connection itself is there, whether the board answers or not


@dataclass(frozen=True)
class Trend(Model):
    """A line through one figure: its slope and standard error, in the figure's unit per second.

    `exhausted_in_s` is None unless the newest figures clearly rise to a limit.
    """

    slope_per_s: float | None = None
    stderr: float | None = None
    points: int = 0
    is_clear: bool = False
    exhausted_in_s: float | None = None


@dataclass(frozen=True)
class Trends(Model):
    """The trends of the figures over the last `period_s` seconds.

    Memory is live bytes, storage the used bytes of the first mount, cpu and fragmentation are
    fractions, loop_lag is seconds. The board stores no history of fragmentation: its trend is of
    the samples received.
    """

    period_s: float = 0.0
    memory: Trend = Trend()
    storage: Trend = Trend()
    cpu: Trend = Trend()
    loop_lag: Trend = Trend()
    fragmentation: Trend = Trend()
