"""Samples that are told by what changed: made whole again."""

from __future__ import annotations

from warden_schema import ids

from .messages import Message

_PLACES = tuple(ids.SAMPLE_VALUES.index(name) for name in ids.DELTA_VALUES)
_MOST = len(ids.SAMPLE_VALUES)


class Deltas:
    """Remembers the last sample; a DELTA that counts from another one tells nothing."""

    def __init__(self) -> None:
        self._values: list[int | None] = []
        self._seq = -1

    def base(self, message: Message) -> None:
        """Remember a SAMPLE."""
        self._seq, self._values = message[1], message[2]

    def whole(self, message: Message) -> Message | None:
        """Return a DELTA as the SAMPLE that it stands for; None where it counts from another one.

        Raises ValueError for one that makes no sense.
        """
        _, seq, since, mask, ms, *changes = message
        if (seq - since + ids.DELTA_BIAS) & 0xFFFF != self._seq or len(self._values) < _MOST:
            return None
        values = self._values.copy()
        for change, place in zip(changes, _changed(mask), strict=True):
            values[place] = _sum(values[place], change - ids.DELTA_BIAS)
        seconds, milliseconds, interval = values[:3]
        passed = _sum(milliseconds, _sum(interval, ms - ids.DELTA_BIAS))
        values[0] = _sum(seconds, passed // 1000)
        values[1] = passed % 1000
        self._seq, self._values = seq, values
        return [ids.SAMPLE, seq, values]


def _changed(mask: int) -> list[int]:
    """Return the places of the values that a mask names; ValueError for bits that name none."""
    if not 0 <= mask < 1 << len(_PLACES):
        raise ValueError("no such value")
    return [place for bit, place in enumerate(_PLACES) if mask >> bit & 1]


def _sum(value: int | None, change: int) -> int:
    if value is None:
        raise ValueError("a change of what is not known")
    return value + change
