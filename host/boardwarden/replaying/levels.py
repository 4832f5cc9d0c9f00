"""Holds what a replayed threshold finds against what the board found.

Samples may lack what the board saw: one was lost, a hold began before the recording, a forecast has
an older past. What the board decided is recorded. A threshold that is nowhere more lenient is never
at a lower level than the board's; nor, where samples do not show it, at a higher one, if it is
nowhere stricter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from boardwarden._quantities import THRESHOLD_METRICS, in_thousandths
from boardwarden.grants import Event, Threshold
from boardwarden.models import Action
from boardwarden.policy import arguments
from warden_schema import ids

from .agent import load

_NONE = float("inf")  # of a level that is not set
_ANY = (0, 2)
_NEVER = 0x3FFFFFFF  # of a forecast
_BLOCK = "largest_free_block_bytes"  # watched by itself where memory is protected
# Of an older past, or of what a collection left: samples do not show it.
_UNSEEN = ("memory_exhausted_in", "storage_exhausted_in", _BLOCK, "fragmentation")


class Levels:
    """Watches the thresholds of a replayed agent; `followed` are those of the board, by metric."""

    def __init__(self) -> None:
        self.followed: dict[str, Threshold] = {}
        self._found: dict[str, int] = {}  # levels that the board was at; not in it: not known
        # Figures that crossed a level, at the last sample.
        self._crossed: dict[str, int | None] = {}
        self._wanted: dict[str, Any] = {}  # the replayed policy's, likewise
        self._lost = False  # events were
        self._seen_ms = 0  # for how long no sample has been lost

    # --- what the board found -------------------------------------------------------------------

    def follow(self, rows: Iterable[dict[str, Any]]) -> None:
        """The board's own thresholds are these now."""
        followed = {}
        for row in rows:
            threshold = _threshold(row)
            name = threshold.metric
            followed[name] = threshold
            if self.followed.get(name) != threshold or name not in self._found:
                self._found[name] = _level(row.get("level"))
        for name in self.followed.keys() - followed.keys():
            self._found.pop(name, None)
        self.followed = followed

    def learn(self, event: Event) -> None:
        """Note the level that the board found."""
        if event.missed:
            self._found.clear()
            self._lost = True
        if event.kind == "threshold" and isinstance(event.subject, str):
            self._found[event.subject] = _level(event.detail)

    def begin_sample(
        self, events: Iterable[Event], period_ms: int, lost: bool, is_seen: bool
    ) -> None:
        """Note the figures that crossed a level at the sample that comes now.

        period_ms: since the one before; lost: there was another between them. Where the sample is
        not seen, but only what crossed a level, that stands until the next one that is.
        """
        if is_seen:
            self._crossed = {}
        self._seen_ms = 0 if lost else self._seen_ms + period_ms
        for event in events:
            self.learn(event)
            if event.kind == "threshold" and isinstance(event.subject, str):
                self._crossed[event.subject] = _figure(event)

    def add_times(self, seconds: float, would: dict[str, float], did: dict[str, float]) -> None:
        """Add a time for which all levels stayed as they are, under `METRIC LEVEL`."""
        wanted = {name: entry.level for name, entry in self._wanted.items()}
        found = {name: level for name, level in self._found.items() if name in self.followed}
        for levels, times in ((wanted, would), (found, did)):
            for metric, level in levels.items():
                for name in ids.LEVELS[1 : level + 1]:
                    key = f"{metric} {name}"
                    times[key] = times.get(key, 0.0) + seconds

    # --- what the replay finds ------------------------------------------------------------------

    def watch(self, policy: Any, begins: bool) -> None:
        """Hold these thresholds of a replayed policy against it, from now on.

        begins: the replay does, so that each is at the level that it had been at.
        """
        table, blocks = policy.thresholds, policy.pressure.blocks
        self._wanted = {THRESHOLD_METRICS[each.metric]: each for each in table.all()}
        for name, entry in self._wanted.items():
            self._hold(name, entry, begins)
        self._hold(None, blocks.threshold, False)
        if "read" not in vars(table):
            read = table.read
            table.read = lambda metric: self._read(read, metric)

    def _read(self, read: Any, metric: int) -> Any:
        crossed = self._crossed.get(THRESHOLD_METRICS[metric])
        return read(metric) if crossed is None else crossed

    def _hold(self, name: str | None, entry: Any, begins: bool) -> None:
        """Have a threshold compare what it finds with what the board found."""
        if "evaluate" in vars(entry):
            return
        evaluate = entry.evaluate

        def compared(value: Any, period_ms: int) -> bool:
            crossed = self._crossed.get(name or _BLOCK)
            value = value if crossed is None else crossed
            before = (entry.level, entry.value, entry.rank, entry.level_ms)
            evaluate(value, period_ms)
            least, most = self._bounds(name, entry)
            level = min(max(entry.level, least), most)
            if level == before[0] != entry.level:
                entry.level, entry.value, entry.rank, entry.level_ms = before
                entry.level_ms += period_ms
            elif level != entry.level:
                _set(entry, level, value)
            return bool(entry.level != before[0])

        entry.evaluate = compared
        if begins:
            least, _ = self._bounds(name, entry)
            if least:
                _set(entry, least, None)

    def _bounds(self, name: str | None, entry: Any) -> tuple[int, int]:
        """Return the lowest and the highest level that it can be at."""
        if name is None:
            if not self._watched_blocks():
                return _ANY
            level = self._found.get(_BLOCK, None if self._lost else 0)
            return _ANY if level is None else (level, level)
        level = self._found.get(name)
        if level is None or name not in self.followed:
            return _ANY
        compared = self.compare(name)
        if compared is None:
            return _ANY
        unseen = name in _UNSEEN or entry.hold_ms > self._seen_ms
        return (level if compared >= 0 else 0, level if compared <= 0 and unseen else 2)

    def _watched_blocks(self) -> bool:
        """Return whether the board watched the largest free block by itself."""
        memory = self.followed.get("memory")
        return memory is not None and memory.action > 0 and _BLOCK not in self.followed

    def compare(self, name: str) -> int | None:
        """Return 1 if the policy is stricter than the board, -1 more lenient, 0 the same.

        None: in one respect this, in another that.
        """
        wanted, followed = self._wanted.get(name), self.followed.get(name)
        if wanted is None or followed is None:
            return 1 if wanted else -1 if followed else 0
        own = load("policy.thresholds").Threshold(*arguments(followed))
        if own.sign != wanted.sign or (own.warn is None) != (wanted.warn is None):
            return None
        pairs = list(zip(_strictness(wanted), _strictness(own), strict=True))
        stricter = any(mine < theirs for mine, theirs in pairs)
        lenient = any(mine > theirs for mine, theirs in pairs)
        return None if stricter and lenient else int(stricter) - int(lenient)

    def compare_pressure(self) -> int:
        """Return 1 if a threshold with an action may be stricter, -1 if one may be more lenient."""
        found = 0
        for name in {*self._wanted, *self.followed}:
            wanted, followed = self._wanted.get(name), self.followed.get(name)
            actions = (wanted.action if wanted else 0, followed.action if followed else 0)
            if not any(actions):
                continue
            compared = self.compare(name)
            if compared is None or (compared > 0 and actions[0]):
                return 1
            if actions[0] < actions[1] or compared < 0:
                found = -1
            elif actions[0] > actions[1]:
                return 1
        return found


def _strictness(entry: Any) -> tuple[float, ...]:
    """Return figures of a threshold that are all less in one that is stricter."""
    levels = (entry.warn, entry.critical, entry.clear)
    return (*(_NONE if each is None else each * entry.sign for each in levels), entry.hold_ms)


def _set(entry: Any, level: int, value: Any) -> None:
    entry.level, entry.value, entry.level_ms = level, value, 0
    entry.rank = 4 * level + entry.action if level and entry.action else 0


def _level(name: Any) -> int:
    return ids.LEVELS.index(name) if name in ids.LEVELS else 0


def _figure(event: Event) -> int | None:
    """Return an event's figure in the board's unit."""
    name = str(event.subject)
    if event.value is None:
        return _NEVER if name.endswith("exhausted_in") else None
    return round(event.value * 1000 if in_thousandths(name) else event.value)


def _threshold(row: dict[str, Any]) -> Threshold:
    names = ("metric", "warn", "critical", "clear", "hold_s")
    return Threshold(**{name: row[name] for name in names}, action=Action[row["action"].upper()])
