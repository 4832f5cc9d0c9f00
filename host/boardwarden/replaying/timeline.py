"""Puts what was recorded of one boot in the order of the board's own clock.

Samples and events have the board's uptime. Rows of tables have the host's: they come a moment after
what they tell of. Where an event tells the same, its time counts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from boardwarden.grants import Event
from boardwarden.models import Priority
from boardwarden.recording.reading import Change, Happened, LinkChange, Sample

_STORAGE_DELAY_S = 0.1  # at most, from a sample to the storage that it found
_SESSION_ENDS = ("preempted", "ended", "released")  # of what a session owns, as it closes
_FIRST, _LAST = -1.0, float("inf")  # beside the numbers of events
_HOLDERS = ("lease", "operation", "session")
_OWNED = 2 * (12 + 16)  # events at most, of what a session owns
_MAX_S = 2**30  # of an uptime
_TICK_S = 0.001
_LONG_S = 600.0  # that an operation waits which was seen to
_LATE_S = 0.5  # at most, from a deadline to what ends by it
_ABOUT_S = 0.1  # at most, from when a row came to what is before it, as far as it seems so
_UNSEEN_S = 1.5  # at most, from a request to its row, where no event tells when it was


@dataclass(frozen=True)
class Begin:
    """The request for a lease, operation or session that was granted, and its row.

    timeout_s: from when it got it to the end of its own, None: none, or not known; range_s: what
    that is at least and at most. elapsed_s: how much of it was over when the replay begins. wait_s:
    how long it waits for a place, None: not at all; ran: whether it got one, when recorded.
    """

    what: str
    number: int
    row: dict[str, Any]
    timeout_s: float | None = None
    range_s: tuple[float, float] = (0.0, 0.0)
    elapsed_s: float = 0.0
    wait_s: float | None = None
    ran: bool = True
    was_preempted: bool = False


class End(NamedTuple):
    """Its holder ended a lease, operation or session."""

    what: str
    number: int


class Preempted(NamedTuple):
    """The board ended a lease, or had an operation stop."""

    what: str
    number: int


class Committed(NamedTuple):
    """The holder of a lease has taken what was granted."""

    number: int


class Lost(NamedTuple):
    """A sample that was lost: an event tells that a figure crossed a level then."""


What = Sample | Lost | Event | Change | Begin | End | Preempted | Committed


class Moment(NamedTuple):
    """What happened at an uptime."""

    uptime_s: float
    place: float  # beside the numbers of events, where the uptime is the same
    what: What


class Timeline:
    """`moments` in order, from the first of `samples` (which are all in a window) to the last."""

    def __init__(
        self,
        samples: Sequence[Sample],
        happened: Iterable[Happened],
        changes: Iterable[Change],
        links: Iterable[LinkChange],
    ) -> None:
        self._samples = samples
        self._arrivals = [sample.at for sample in samples]
        self.begin_s, self.end_s = samples[0].uptime_s, samples[-1].uptime_s
        if not 0 <= self.begin_s <= self.end_s <= _MAX_S:
            raise ValueError("an uptime that makes no sense")
        self.events = [
            replace(each.event, uptime_s=_ms(each.event.uptime_s) / 1000) for each in happened
        ]
        self._numbers = [event.number for event in self.events]
        self.breaks = [self.uptime_s(link.at) for link in links if link.state != "up"]
        self._about: defaultdict[tuple[str, object], list[Event]] = defaultdict(list)
        for event in self.events:
            self._about[event.kind, event.subject].append(event)
        self._rows: defaultdict[tuple[str, object], list[Change]] = defaultdict(list)
        tables: list[Change] = []
        for change in changes:
            if change.number is None or change.what not in _HOLDERS:
                tables.append(change)
            else:
                self._rows[change.what, change.number].append(change)
        self._preempted = [
            (event.uptime_s, float(event.number))
            for event in self.events
            if (event.kind, event.detail) == ("operation", "preempted")
        ]
        self._began: defaultdict[Any, list[tuple[float, float]]] = defaultdict(list)  # by name
        # When operations began that did not wait, as far as was seen, and their ids.
        self._at_once: list[tuple[tuple[float, float], int]] = []
        for (kind, number), rows in self._rows.items():
            if kind == "operation" and rows[0].value:
                began = [
                    (event.uptime_s, event.number)
                    for event in self._about.get((kind, number), ())
                    if event.detail == "began"
                ]
                self._began[rows[0].value.get("name")] += began
                if began and isinstance(number, int) and rows[0].value.get("state") == "active":
                    self._at_once.append((began[0], number))
        for found in self._began.values():
            found.sort()
        self._at_once.sort()
        as_events = (Moment(event.uptime_s, event.number, event) for event in self.events)
        moments = [*self._of_samples(), *as_events, *self._of_tables(tables)]
        for (what, number), rows in self._with_short_ones():
            moments += self._of_holder(what, number, rows)
        moments = [moment for moment in moments if moment.uptime_s <= self.end_s]
        self.moments = sorted(moments, key=lambda moment: moment[:2])
        self.early = [moment for moment in self.moments if moment.uptime_s < self.begin_s]

    def uptime_s(self, at: float) -> float:
        """Return about what the board's uptime was at a time of the host."""
        place = max(0, bisect_right(self._arrivals, at) - 1)
        sample = self._samples[place]
        return sample.uptime_s + at - sample.at

    def was_short(self, event: Event) -> bool:
        """Return whether what an event is about ended before a row of it came."""
        return (event.kind, event.subject) not in self._rows

    # --- figures --------------------------------------------------------------------------------

    def _of_samples(self) -> Iterable[Moment]:
        """Yield samples, before the events of what they crossed, and what is known of lost ones."""
        crossings: dict[int, float] = {}
        for event in self.events:
            if event.kind == "threshold" and self.begin_s <= event.uptime_s <= self.end_s:
                crossings.setdefault(_ms(event.uptime_s), event.number - 0.5)
        for sample in self._samples:
            place = crossings.pop(_ms(sample.uptime_s), _LAST)
            yield Moment(sample.uptime_s, place, sample)
        for uptime_ms, place in crossings.items():
            yield Moment(uptime_ms / 1000, place, Lost())

    def _of_tables(self, changes: Iterable[Change]) -> Iterable[Moment]:
        """Yield changes of whole tables: the first of each is how it was at the beginning."""
        seen: set[str] = set()
        for change in changes:
            uptime_s = self.uptime_s(change.at)
            if change.what == "storage":
                uptime_s -= _STORAGE_DELAY_S
            if change.what not in seen:
                seen.add(change.what)
                if change.what == "thresholds" and uptime_s > self.begin_s:
                    change = self._as_at_first(change, uptime_s)
                uptime_s = min(uptime_s, self.begin_s)
            if uptime_s <= self.begin_s:
                uptime_s = self.begin_s - _TICK_S
            yield Moment(uptime_s, _FIRST, change)

    def _as_at_first(self, change: Change, seen_s: float) -> Change:
        """Return thresholds that were seen after the first sample with the levels before that."""
        found = []
        for row in change.value:
            crossed = [
                event
                for event in self._about.get(("threshold", row.get("metric")), ())
                if event.uptime_s <= seen_s
            ]
            if crossed and crossed[-1].uptime_s >= self.begin_s:
                before = [event.detail for event in crossed if event.uptime_s < self.begin_s]
                row = {**row, "level": before[-1] if before else "clear"}
            found.append(row)
        return change._replace(value=found)

    # --- what was granted -----------------------------------------------------------------------

    def _with_short_ones(self) -> Iterable[tuple[tuple[str, Any], list[Change]]]:
        """Yield what was granted, with its rows; an operation may have been too short for them."""
        yield from self._rows.items()
        for (kind, number), events in self._about.items():
            if kind != "operation" or (kind, number) in self._rows or not isinstance(number, int):
                continue
            if any(event.detail == "began" for event in events):
                yield (kind, number), []

    def _of_holder(self, what: str, number: int, rows: list[Change]) -> Iterable[Moment]:
        """Yield what happened to a lease, operation or session."""
        events = self._about.get((what, number), [])
        values = [row for row in rows if row.value is not None]
        gone = next((row for row in rows if row.value is None), None)
        began = any(event.detail == "began" for event in events)
        if not values and not (what == "operation" and began):
            return
        value = values[0].value if values else {}
        if value.get("state") == "waiting" and value.get("memory_bytes") and not began:
            return  # it waited for memory in vain, of which samples show little
        end = self._end(what, events, gone)
        begin_s, place = self._beginning(what, events, values)
        preempted = [event for event in events if event.detail == "preempted"]
        begin = Begin(what, number, value, was_preempted=bool(preempted))
        if what != "session":
            begin = self._with_times(begin, begin_s, events, values)
        if begin_s < self.begin_s:
            if end is not None and end[0] < self.begin_s:
                return
            begin = replace(begin, elapsed_s=self.begin_s - begin_s)
            begin_s, place = self.begin_s - _TICK_S / 2, _FIRST
        yield Moment(begin_s, place, begin)
        for row in values[1:]:
            if what == "lease" and row.value.get("committed"):
                yield Moment(self.uptime_s(row.at), _FIRST, Committed(number))
                break
        for event in preempted:
            if event.uptime_s >= begin_s:
                yield Moment(event.uptime_s, event.number - 0.5, Preempted(what, number))
        if end is not None:
            yield Moment(end[0], end[1], End(what, number))

    def _end(
        self, what: str, events: list[Event], gone: Change | None
    ) -> tuple[float, float] | None:
        """Return when its holder ended it, as (uptime, place); None if that did not happen."""
        how = {"lease": ("released", "dropped"), "operation": ("ended",), "session": ("closed",)}
        last = events[-1] if events else None
        if last is not None and last.detail in how[what]:
            if what == "session":
                last = self._first_of_closing(last)
            return last.uptime_s, last.number - 0.5
        if last is not None and last.detail in ("expired", "abandoned"):
            return None
        if last is not None and what == "lease" and last.detail == "preempted":
            return None
        return None if gone is None else (self.uptime_s(gone.at), _FIRST)

    def _first_of_closing(self, closed: Event) -> Event:
        """Return the first event of what a session's closing ended, whose own event comes last."""
        first = closed
        place = bisect_left(self._numbers, closed.number)
        for event in reversed(self.events[max(0, place - _OWNED) : place]):
            of_it = event.kind in ("operation", "lease") and event.detail in _SESSION_ENDS
            if not of_it or not self._belongs(event, closed.subject):
                break
            first = event
        return first

    def _belongs(self, event: Event, session: object) -> bool:
        rows = self._rows.get((event.kind, event.subject), [])
        return any(row.value is not None and row.value.get("session") == session for row in rows)

    def _beginning(
        self, what: str, events: list[Event], values: list[Change]
    ) -> tuple[float, float]:
        """Return when it was requested, as (uptime, place)."""
        began = next((event for event in events if event.detail == "began"), None)
        if not values and began is not None:
            return began.uptime_s, began.number - 0.5
        row = values[0].value
        seen_s = self.uptime_s(values[0].at)
        follows = None if began is None else self._ended_before(began)
        waits = what == "operation" and row.get("state") == "waiting"
        if waits and (began is None or follows is not None or not row.get("memory_bytes")):
            return self._beginning_of_wait(row, seen_s, began)
        if began is not None:  # of one that waited for memory: there was enough then
            for event in self._about.get(("operation", follows), ()):
                if event.detail == "preempted" and _preempts(row):
                    return event.uptime_s, event.number - 0.7
            return began.uptime_s, began.number - 0.5
        granted_s = row.get("granted_s" if what == "lease" else "began_s")
        if granted_s is not None:  # in whole seconds
            seen_s = max(granted_s, min(seen_s, granted_s + 1 - _TICK_S))
        if events and events[0].uptime_s <= seen_s:  # its row came when it had ended
            return events[0].uptime_s, events[0].number - 0.6
        if what == "lease":
            return self._beginning_of_lease(row, seen_s)
        return seen_s, _FIRST

    def _ended_before(self, began: Event) -> object:
        """Return the operation whose end gave this one its place, None if it was free."""
        place = bisect_left(self._numbers, began.number)
        for event in reversed(self.events[max(0, place - _OWNED) : place]):
            if began.uptime_s - event.uptime_s > _TICK_S:
                break
            if event.kind == "operation":
                ran = any(e.detail == "began" for e in self._about["operation", event.subject])
                return event.subject if ran and event.detail in ("ended", "overdue") else None
        return None

    def _beginning_of_wait(
        self, row: dict[str, Any], seen_s: float, began: Event | None
    ) -> tuple[float, float]:
        """Return when an operation began to wait: as it preempted another, if it did."""
        latest_s = seen_s + _ABOUT_S
        if began is not None:
            seen_s, latest_s = min(seen_s, began.uptime_s), min(latest_s, began.uptime_s)
        since_s = row.get("began_s") or 0
        since = max((since_s, _FIRST), self._begun_before(row["id"], latest_s))
        if _preempts(row):
            preempted = _nearest(self._preempted, seen_s, since, latest_s)
            if preempted is not None:
                return preempted[0], preempted[1] - 0.7
        return max(since[0], seen_s), _FIRST

    def _begun_before(self, number: int, latest_s: float) -> tuple[float, float]:
        """Return when the last operation began at once that was requested before one of this id."""
        place = bisect_right(self._at_once, ((latest_s, _LAST), 0))
        for each in range(place - 1, -1, -1):  # ids are given in the order of requests
            began, other = self._at_once[each]
            if other < number:
                return began
        return 0.0, _FIRST

    def _beginning_of_lease(self, row: dict[str, Any], seen_s: float) -> tuple[float, float]:
        """Return when a lease was granted: with its operation, if it is the memory of one."""
        granted = self._began[row.get("owner")]
        began = _nearest(granted, seen_s, (seen_s - 1, _FIRST), seen_s + _ABOUT_S)
        if began is not None:
            return began[0], began[1] - 0.6
        return seen_s, _FIRST

    def _with_times(
        self, begin: Begin, begin_s: float, events: list[Event], values: list[Change]
    ) -> Begin:
        """Return it with how long it may wait, and last."""
        wait_s = None
        if values and values[0].value.get("state") == "waiting":
            wait_s = _LONG_S
        began_s = next((event.uptime_s for event in events if event.detail == "began"), None)
        started_s = begin_s if began_s is None else began_s
        over_s = next((e.uptime_s for e in events if e.detail in ("timed out", "expired")), None)
        timeout_s = None if over_s is None else over_s - started_s
        least_s = max(0.0, (timeout_s or 0.0) - _LATE_S)
        active = next((row for row in values if row.value.get("state") in ("active", None)), None)
        left_s = None if active is None else active.value["remaining_s"]
        if active is not None and left_s is not None:
            # That was counted when the row was sent, which was some time before it came.
            late_s = max(0.0, self.uptime_s(active.at) - started_s)
            least_s = left_s
            if timeout_s is None:
                timeout_s = left_s + late_s
                ended_s = [e.uptime_s for e in events if e.detail in ("released", "ended")]
                if ended_s:  # before its time was over
                    timeout_s = max(timeout_s, ended_s[-1] - started_s + _TICK_S)
        ran = active is not None or began_s is not None
        if timeout_s is None:
            return replace(begin, wait_s=wait_s, ran=ran)
        most_s = timeout_s + (_TICK_S if began_s is not None else _UNSEEN_S)
        return replace(
            begin, timeout_s=timeout_s, range_s=(least_s, most_s), wait_s=wait_s, ran=ran
        )


def _nearest(
    found: Sequence[tuple[float, float]],
    seen_s: float,
    since: tuple[float, float],
    latest_s: float,
) -> tuple[float, float] | None:
    """Return the last of these moments before a row came, else the next one; None: out of range.

    A row comes later than what it tells of; but when it came is known about.
    """
    after = bisect_right(found, (seen_s, _LAST))
    for place in (after - 1, after):
        if 0 <= place < len(found) and since <= found[place] and found[place][0] <= latest_s:
            return found[place]
    return None


def _preempts(row: dict[str, Any]) -> bool:
    return row.get("priority") in (Priority.HIGH.name.lower(), Priority.CRITICAL.name.lower())


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
