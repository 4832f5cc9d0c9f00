"""The state of a board as received, and the Status that is made of it.

On the wire there are integers in a fixed order, permille and milliseconds; models have names,
fractions and seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from warden_schema import ids

from ._conversion import Row, from_thousandths
from .models import (
    AgentWrites,
    Capability,
    Cpu,
    Identity,
    Memory,
    Network,
    Overhead,
    Status,
    Storage,
    SystemHeap,
)

Figure = int | None

NOTHING: tuple[Figure, ...] = (None,) * len(ids.SAMPLE_VALUES)
_UNKNOWN = Capability(False, "this board's agent does not know of it")


class State(NamedTuple):
    """What a board sent; None stands for a row that has not come yet."""

    hello: tuple[Any, ...] = ()
    values: tuple[Figure, ...] = NOTHING
    rows: tuple[Row | None, ...] = ()  # the fields of STORAGE from `mount` on
    received_at: float | None = None  # by passed_s()
    updated_at: float | None = None  # seconds since the epoch
    used_bytes: Figure = None  # of the first row
    system_heap: tuple[Figure, ...] | None = None  # the fields of SYSTEM_HEAP after seq


def _share(part: Figure, total: Figure) -> float | None:
    return None if part is None or not total else part / total


def fragmentation(free: Figure, largest: Figure) -> float | None:
    """Return the share of free bytes that are outside the largest free block; 0 if none is free.

    As `warden.sample.fragmentation_permille` on the board.
    """
    if free is None or largest is None:
        return None
    return max(0, free - largest) / free if free else 0.0


def uptime_s(values: tuple[Figure, ...]) -> float | None:
    """Return the uptime, with its milliseconds."""
    return None if values[0] is None else values[0] + (values[1] or 0) / 1000


def used_bytes(rows: Sequence[Row | None]) -> Figure:
    """Return the used bytes of the first mount, which the board's history follows, too."""
    if not rows or rows[0] is None:
        return None
    _, block_bytes, blocks, free_blocks, *_ = rows[0]
    if None in (block_bytes, blocks, free_blocks):
        return None
    return int(block_bytes * (blocks - free_blocks))


def status(state: State) -> Status:
    """Return the Status that a state describes."""
    values = dict(zip(ids.SAMPLE_VALUES, state.values, strict=False))
    connected = values["connected"]
    updated = state.updated_at
    return Status(
        memory=_memory(values),
        cpu=Cpu(
            usage=from_thousandths(values["cpu_permille"]),
            active_threads=values["threads"],
            active_tasks=values["tasks"],
            loop_lag_s=from_thousandths(values["loop_lag_ms"]),
            loop_lag_worst_s=from_thousandths(values["loop_lag_worst_ms"]),
            uptime_s=uptime_s(state.values),
        ),
        storage=tuple(_storage(*row) for row in state.rows if row is not None),
        network=Network(
            connected=None if connected is None else bool(connected),
            rssi_dbm=values["rssi_dbm"],
            sent_bytes=values["sent_bytes"],
            received_bytes=values["received_bytes"],
        ),
        overhead=Overhead(
            cpu=from_thousandths(values["overhead_permille"]),
            budget=from_thousandths(values["budget_permille"]),
            bytes_per_s=values["link_bytes_per_s"],
            dropped_frames=values["dropped_frames"],
            bad_frames=values["bad_frames"],
            faults=values["faults"],
        ),
        interval_s=from_thousandths(values["interval_ms"]),
        wanted_interval_s=from_thousandths(values["wanted_interval_ms"]),
        last_updated=None if updated is None else datetime.fromtimestamp(updated, timezone.utc),
        board=_identity(state.hello, state.values[0]),
        system_heap=_system_heap(state),
        _received_at=state.received_at,
    )


def _memory(values: dict[str, Figure]) -> Memory:
    total, free = values["total_bytes"], values["free_bytes"]
    largest = values["largest_free_block_bytes"]
    used = None if total is None or free is None else total - free
    return Memory(
        total_bytes=total,
        used_bytes=used,
        available_bytes=free,
        live_bytes=values["live_bytes"],
        largest_free_block_bytes=largest,
        usage=_share(used, total),
        fragmentation=fragmentation(free, largest),
        low_water_bytes=values["low_water_bytes"],
    )


def _system_heap(state: State) -> SystemHeap | None:
    """Return what came, unless the board has none: then it came late, of the boot before."""
    if state.system_heap is None or not capabilities(state.hello)["system_heap"].available:
        return None
    return SystemHeap(*state.system_heap)


def _storage(
    mount: str | None,
    block_bytes: Figure,
    blocks: Figure,
    free: Figure,
    available: Figure,
    writes: Sequence[int] | None = None,
) -> Storage:
    def in_bytes(count: Figure) -> Figure:
        return None if count is None or block_bytes is None else count * block_bytes

    used = None if blocks is None or free is None else blocks - free
    return Storage(
        mount=mount,
        total_bytes=in_bytes(blocks),
        used_bytes=in_bytes(used),
        available_bytes=in_bytes(available),
        usage=_share(used, blocks),
        block_bytes=block_bytes,
        agent_writes=None if writes is None else _agent_writes(writes),
    )


def _agent_writes(counts: Sequence[Any]) -> AgentWrites:
    named = zip(ids.AGENT_WRITES, counts, strict=False)
    return AgentWrites(**{name: count for name, count in named if type(count) is int})


def _identity(hello: tuple[Any, ...], up_s: Figure) -> Identity:
    if not hello:
        return Identity()
    names = dict(zip(ids.IDENTITY, hello[6], strict=False))
    texts = {name: text if isinstance(text, str) else None for name, text in names.items()}
    unique_id = names.get("unique_id")
    boots, crash_free_s = names.get("boots"), names.get("crash_free_s")
    return Identity(
        machine=texts.get("machine"),
        firmware=texts.get("firmware"),
        port=texts.get("port"),
        unique_id=unique_id.hex() if isinstance(unique_id, bytes) and unique_id else None,
        boot_id=hello[5],
        reset_cause=texts.get("reset_cause"),
        protocol=f"{hello[2]}.{hello[3]}",
        agent=texts.get("agent"),
        boots=boots if isinstance(boots, int) else None,
        crash_free_s=crash_free_s + (up_s or 0) if isinstance(crash_free_s, int) else None,
    )


def capabilities(hello: tuple[Any, ...]) -> dict[str, Capability]:
    """Return what a HELLO says the board can measure, by name."""
    if not hello:
        return {}
    reasons = hello[8] or b""
    found = dict.fromkeys(ids.CAPABILITIES, _UNKNOWN)
    for name, reason in zip((*ids.CAPABILITIES, *ids.MQTT_CAPABILITIES), reasons, strict=False):
        known = ids.REASONS.get(reason, f"reason {reason}, which this version does not know")
        available = reason == ids.AVAILABLE
        found[name] = Capability(available, None if available else known)
    return found
