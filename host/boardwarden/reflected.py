"""Tells whether the mirror shows what a request changed; its reply comes before the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from warden_schema import ids

from . import arguments, rows
from .board_view import BoardView
from .units import METRICS


def is_reflected(view: BoardView, operation: int, asked: Sequence[Any], value: Any) -> bool:
    """Return False while what was asked, and answered with a value, is not in the mirror yet."""
    shows = _SHOWS.get(operation)
    return shows is None or shows(view, asked, value)


def _allocate(view: BoardView, asked: Sequence[Any], value: Any) -> bool:
    return any(lease.id == value for lease in view.allocations)


def _release(view: BoardView, asked: Sequence[Any], value: Any) -> bool:
    return not any(lease.id == asked[0] for lease in view.allocations)


def _begin(view: BoardView, asked: Sequence[Any], value: Any) -> bool:
    number = value[0] if isinstance(value, list) and value else None
    return any(each.id == number for each in view.operations)


def _complete(view: BoardView, asked: Sequence[Any], value: Any) -> bool:
    return not any(each.id == asked[0] for each in view.operations)


def _cancel(view: BoardView, asked: Sequence[Any], value: Any) -> bool:
    return not any(each.id == asked[0] and each.why is None for each in view.operations)


def _set_limits(view: BoardView, asked: Sequence[Any], value: Any) -> bool:
    return not isinstance(value, list) or view.limits == rows.limits(value)


def _set_threshold(view: BoardView, asked: Sequence[Any], value: Any) -> bool:
    metric, warn, critical, clear, *rest = asked
    for each in view.thresholds:
        if each.metric == METRICS[metric]:
            levels = (each.warn, each.critical, each.clear if clear is not None else None)
            try:
                found = arguments.threshold(each.metric, *levels, each.hold_s, each.action)
            except ValueError:  # a newer board's
                return False
            return found == (metric, warn, critical, clear, *rest)
    return warn is None and critical is None


_SHOWS: dict[int, Callable[[BoardView, Sequence[Any], Any], bool]] = {
    ids.ALLOCATE: _allocate,
    ids.RELEASE: _release,
    ids.BEGIN: _begin,
    ids.COMPLETE: _complete,
    ids.CANCEL: _cancel,
    ids.SET_LIMITS: _set_limits,
    ids.SET_THRESHOLD: _set_threshold,
}
