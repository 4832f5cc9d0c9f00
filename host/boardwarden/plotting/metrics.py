"""The metrics that can be drawn, and the scale that suits their figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_BYTES = ("B", "KB", "MB", "GB", "TB")


class Metric(NamedTuple):
    """A panel: `columns` of the recording by what each line is called; `unit` as recorded."""

    title: str
    unit: str  # bytes, bytes/s, fraction, s, dBm, or "" for a number of something
    columns: dict[str, str]


METRICS = {
    "memory": Metric(
        "memory", "bytes", {"heap": "total_bytes", "used": "used_bytes", "live": "live_bytes"}
    ),
    "cpu": Metric("CPU", "fraction", {"": "cpu"}),
    "loop_lag": Metric("loop lag", "s", {"worst": "loop_lag_worst_s", "mean": "loop_lag_s"}),
    "loop_lag_worst": Metric("worst loop lag", "s", {"": "loop_lag_worst_s"}),
    "storage": Metric("storage", "fraction", {}),  # of each mount; recorded when it changes
    "used_bytes": Metric("used memory", "bytes", {"": "used_bytes"}),
    "live_bytes": Metric("live memory", "bytes", {"": "live_bytes"}),
    "available_bytes": Metric("free memory", "bytes", {"": "available_bytes"}),
    "largest_free_block_bytes": Metric(
        "largest free block", "bytes", {"": "largest_free_block_bytes"}
    ),
    "fragmentation": Metric("fragmentation", "fraction", {"": "fragmentation"}),
    "low_water_bytes": Metric("least left by live memory", "bytes", {"": "low_water_bytes"}),
    "system_heap": Metric(
        "system heap",
        "bytes",
        {
            "free": "system_heap_free_bytes",
            "largest block": "system_heap_largest_free_block_bytes",
            "least free": "system_heap_low_water_bytes",
        },
    ),
    "tasks": Metric("tasks", "", {"": "tasks"}),
    "threads": Metric("threads", "", {"": "threads"}),
    "connected": Metric("WLAN connected", "", {"": "connected"}),
    "rssi_dbm": Metric("signal", "dBm", {"": "rssi_dbm"}),
    "sent_bytes": Metric("sent", "bytes", {"": "sent_bytes"}),
    "received_bytes": Metric("received", "bytes", {"": "received_bytes"}),
    "overhead": Metric("agent's share", "fraction", {"budget": "budget", "agent": "overhead"}),
    "link_bytes_per_s": Metric("link", "bytes/s", {"": "link_bytes_per_s"}),
    "dropped_frames": Metric("dropped frames", "", {"": "dropped_frames"}),
    "bad_frames": Metric("bad frames", "", {"": "bad_frames"}),
    "faults": Metric("agent's faults", "", {"": "faults"}),
    "interval": Metric("interval", "s", {"": "interval_s"}),
}
USUAL = ("memory", "cpu", "loop_lag", "storage")


class Scale(NamedTuple):
    """A factor for figures, and the unit that they have then."""

    factor: float
    unit: str


def scale(unit: str, figures: Iterable[float]) -> Scale:
    """Return the scale in which figures of a unit are read best."""
    most = max(map(abs, figures), default=0.0)
    if unit == "fraction":
        return Scale(100.0, "%")
    if unit == "s":
        return Scale(1000.0, "ms") if most < 1 else Scale(1.0, "s")
    if unit.startswith("bytes"):
        step = 0
        while most >= 1000 and step < len(_BYTES) - 1:
            most /= 1024
            step += 1
        return Scale(1024.0**-step, _BYTES[step] + unit.removeprefix("bytes"))
    return Scale(1.0, unit)
