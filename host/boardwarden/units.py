"""From the board's integers to the host's units: fractions of one and seconds."""

from __future__ import annotations

from warden_schema import ids

from .kinds import ResourceType

METRICS = tuple(ids.THRESHOLD_METRICS)  # a threshold's, by their numbers
_THOUSANDTHS = ("permille", "ms")


def per_mille(value: int | None) -> float | None:
    """Return permille as a fraction, and milliseconds as seconds."""
    return None if value is None else value / 1000


def metric_name(number: int | None) -> str | None:
    """Return what a threshold's metric is called; its number, where only a newer board knows."""
    if number is None:
        return None
    return METRICS[number] if 0 <= number < len(METRICS) else str(number)


def metric_unit(metric: str) -> str:
    """Return the board's unit of a threshold's metric; "count" of one that is not known."""
    return ids.THRESHOLD_METRICS.get(metric, "count")


def in_thousandths(metric: str | None) -> bool:
    """Tell whether the board counts a metric in permille or milliseconds."""
    return metric_unit(metric or "") in _THOUSANDTHS


def level(metric: str | None, value: int | None) -> float | None:
    """Return a figure of a metric in the unit that the status has for it."""
    return per_mille(value) if in_thousandths(metric) else value


def amount(resource: int, value: int) -> float:
    """Return an amount of a resource: of CPU_TIME a fraction of a core, else as it is."""
    return value / 1000 if resource == ResourceType.CPU_TIME else value
