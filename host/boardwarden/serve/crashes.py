"""Counts the resets and exceptions of a board, from the lists that it keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from boardwarden import CaughtException, Reset
from boardwarden.crashes import CAUSES
from warden_schema import ids

OTHER = "other"  # what this version does not know: else a board makes as many series as it likes
_MAX_BOOT = 0x10000  # the boots are counted modulo so many


@dataclass(frozen=True)
class Crashes:
    """Counts since they began: resets by cause and whether expected, exceptions by what ended.

    `kept`: whether the board keeps such lists.
    """

    resets: Mapping[tuple[str, bool], int] = field(default_factory=dict)
    exceptions: Mapping[str, int] = field(default_factory=dict)
    kept: bool = False


NO_CRASHES = Crashes()


class CrashCount:
    """`crashes`: replaced at each update(), never changed, for another thread may be reading.

    What is in the lists at the first update is not counted: it may be of years ago.
    """

    def __init__(self) -> None:
        self.crashes = NO_CRASHES
        self._began = False
        self._boot: int | None = None  # that ended last
        self._known: dict[tuple[str, str | None, str], int] = {}

    def update(self, resets: Sequence[Reset], exceptions: Sequence[CaughtException]) -> None:
        """Count what is new in a board's lists."""
        ended = Counter(self.crashes.resets)
        ended.update(self._new_resets(resets))
        caught = Counter(self.crashes.exceptions)
        caught.update(self._new_exceptions(exceptions))
        kept = self.crashes.kept or bool(resets or exceptions)
        self.crashes = Crashes(dict(ended), dict(caught), kept)
        self._began = True

    def _new_resets(self, resets: Sequence[Reset]) -> Counter[tuple[str, bool]]:
        """Return how many boots ended since the last one that was counted, each by its entry."""
        new: Counter[tuple[str, bool]] = Counter()
        if not resets:
            return new
        before, self._boot = self._boot, resets[-1].boot
        for each in resets if self._began else ():
            since = each.count
            if before is not None:
                ahead = (each.boot - before) % _MAX_BOOT
                since = min(each.count, ahead if ahead < _MAX_BOOT // 2 else 0)
            if since:
                new[_cause(each.cause), each.expected] += since
        return new

    def _new_exceptions(self, exceptions: Sequence[CaughtException]) -> Counter[str]:
        new: Counter[str] = Counter()
        known: dict[tuple[str, str | None, str], int] = {}
        for each in exceptions:
            key = (each.kind, each.name, each.traceback)
            known[key] = each.count
            before = self._known.get(key, 0)
            if each.count < before and each.uptime_s is None:
                continue  # of an earlier boot: the board had not written the last ones
            if self._began:  # a count that fell began again, for it had made room
                kind = each.kind if each.kind in ids.EXCEPTION_KINDS else OTHER
                new[kind] += each.count - (before if each.count >= before else 0)
        self._known = known
        return +new


def _cause(cause: str | None) -> str:
    if cause is None:
        return "unknown"
    return cause if cause in CAUSES else OTHER
