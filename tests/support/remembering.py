"""A history for fake boards, as a board has one: figures that tell metric, statistic and slot."""

from __future__ import annotations

import struct
from typing import Any

from boardwarden.testing import FakeBoard
from warden_schema import ids


def figure(metric: int, statistic: int, number: int) -> int:
    """Return the figure, in the board's units, of the slot that begins at number * its length."""
    return 10_000 * (metric + 1) + 1000 * statistic + number % 1000


def remember(board: FakeBoard, since_s: int = 0) -> None:
    """Have a fake board answer HISTORY_READ as one that has measured since an uptime."""

    def answer(arguments: list[Any]) -> tuple[int, Any]:
        tier, metric, statistic = arguments
        step_s, count = ids.TIERS[tier]
        end = (board.values["uptime_s"] or 0) // step_s
        values = [
            ids.NO_VALUE
            if number * step_s < since_s
            else figure(metric, statistic if tier else 1, number)
            for number in range(end - count, end)
        ]
        return ids.OK, [end * step_s, step_s, 1, struct.pack(f"<{count}H", *values)]

    board.answer[ids.HISTORY_READ] = answer


def pass_s(board: FakeBoard, seconds: int) -> None:
    """Have so many seconds of a board's uptime pass in which no host hears of a sample."""
    board.values["uptime_s"] = (board.values["uptime_s"] or 0) + seconds
