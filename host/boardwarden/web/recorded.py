"""What a recording has of a board's graphs, for the time before the page was served."""

from __future__ import annotations

import logging
from pathlib import Path

from boardwarden.errors import RecordingError
from boardwarden.recording.reading import Recording

from .past import FIGURES

LONGEST_S = 7 * 86_400.0  # that is read
# There is one point in so many seconds, of the last day and before: more would not be seen.
_DAY_S = 86_400.0
_STEPS_S = (60.0, 600.0)
# The recording's columns, in the order of FIGURES.
_COLUMNS = (
    *("live_bytes", "used_bytes", "largest_free_block_bytes", "cpu", "loop_lag_worst_s"),
    "fragmentation",
)
Series = dict[str, list[tuple[float, float]]]
_log = logging.getLogger(__name__)


def read(path: Path, address: str, now: float) -> Series:
    """Return (seconds since the epoch, figure) of each graph, oldest first; blocks.

    A point is the highest figure of a minute, of ten before the last day. Empty where the recording
    has no such board, or cannot be read now, which is logged.
    """
    found: Series = {name: [] for name in FIGURES}
    window = (now - LONGEST_S, now)
    try:
        with Recording(path) as recording:
            spans = [each for each in recording.spans() if each.address == address]
            for span in sorted(spans, key=lambda each: each.began):
                if span.ended < window[0]:
                    continue
                for sample in recording.samples(span, _COLUMNS, window):
                    step = _STEPS_S[now - sample.at > _DAY_S]
                    for name, value in zip(FIGURES, sample.figures, strict=True):
                        if value is not None:
                            _add(found[name], sample.at, float(value), step)
    except RecordingError as error:
        _log.warning("%s", error)
    return found


def _add(points: list[tuple[float, float]], at: float, value: float, step: float) -> None:
    """Add a point, or raise the one of the same step."""
    if points and at - points[-1][0] < step:
        points[-1] = points[-1][0], max(points[-1][1], value)
    else:
        points.append((at, value))
