"""Trends as people read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from boardwarden.models import Trend, Trends

from .text import NONE, count, duration, percent, size
from .view import Row


def trend_rows(trends: Trends) -> Iterator[Row]:
    """Give one row for each figure that has a trend."""
    yield "period", f"the last {duration(trends.period_s)}"
    yield "memory", _trend(trends.memory, size)
    yield "storage", _trend(trends.storage, size)
    yield "cpu", _trend(trends.cpu, percent)
    yield "loop lag", _trend(trends.loop_lag, duration)


def _trend(trend: Trend, write: Callable[[float | None], str]) -> str:
    points = count(trend.points, "point")
    if trend.slope_per_s is None or trend.stderr is None:
        return f"{NONE} ({points}: too few)"
    if not trend.is_clear:
        return f"no clear trend ({points})"
    way = "rising" if trend.slope_per_s > 0 else "falling"
    rate = f"{way} by {write(abs(trend.slope_per_s) * 60)} a minute"
    sure = f"± {write(trend.stderr * 60)}, {points}"
    if trend.exhausted_in_s is None:
        return f"{rate} ({sure})"
    return f"{rate}, exhausted in {duration(trend.exhausted_in_s)} ({sure})"
