"""Runs a policy over a recording: the board's own code decides on the recorded figures.

What was is not changed by what would have been done: memory that the policy would have had given
back is still in the figures after it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from boardwarden import _conversion
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.errors import PolicyError, RecordingError
from boardwarden.grants import Event, Limits
from boardwarden.history import is_gap
from boardwarden.models import Model
from boardwarden.policy import Policy, arguments
from boardwarden.recording.reading import Change, Happened, Recording, Sample, Span, Window

from .agent import COLUMNS, NOTHING, Agent, in_board_units
from .recorded import Denial, Levels, Requests, Subject
from .timeline import Begin, Committed, End, Lost, Moment, Preempted, Timeline

_DEFAULT_LIMITS = (4, 300_000, 100, 5000)  # device/warden/api.py
_SAME_SAMPLE_S = 0.02  # at most, between what the board and the replay find at one sample, and
_SAME_S = 0.5  # between what they do then
_TRIM_S = 2.0  # at most, from a collection to the functions called after it
_ENDS = {  # what ends by a decision; that it ended at its holder's wish was recorded anyway
    "operation": ("preempted", "timed out", "overdue", "abandoned"),
    "lease": ("preempted", "expired"),
}
_BY_TIME = ("timed out", "overdue", "abandoned")
_SIZES = ("total_bytes", "used_bytes", "available_bytes")
_DECISIONS = ("threshold", "collect", "reset")


@dataclass(frozen=True)
class Decision(Model):
    """What the policy would have done; `name` is whose lease or operation `event.subject` is.

    happened: the board did it, then: its time and value are the board's. Else its time is known to
    within_s, as far as samples and the times of operations are.
    """

    address: str = ""
    boot_id: int | None = None
    at: float = 0.0  # seconds since the epoch
    event: Event = field(default_factory=Event)
    name: str | None = None
    happened: bool = False
    within_s: float = 0.0


@dataclass
class Replayed:
    """The result of a replay: all decisions, in order, and what was replayed."""

    decisions: list[Decision] = field(default_factory=list)
    recorded: list[Decision] = field(default_factory=list)  # what the boards did, likewise
    boards: list[str] = field(default_factory=list)
    samples: int = 0
    seconds: float = 0.0
    # Seconds that a metric was at warn or beyond, and at critical: would have been, and was.
    would_s: dict[str, float] = field(default_factory=dict)
    did_s: dict[str, float] = field(default_factory=dict)

    @property
    def happened(self) -> int:
        """How many of the decisions the boards took, too, at that time."""
        return sum(decision.happened for decision in self.decisions)

    @property
    def within_s(self) -> float:
        """How exactly the times of the others are known."""
        return max((decision.within_s for decision in self.decisions), default=0.0)


def replay(
    recording: Recording,
    policy: Policy,
    addresses: Sequence[str] = (),
    window: Window = (float("-inf"), float("inf")),
    passed: Callable[[int, int], None] = lambda samples, total: None,
) -> Replayed:
    """Run a policy over these boards (none: all) in a window of time, each boot by itself.

    `passed` is called now and then with how many samples are done, of how many. Raises
    RecordingError where there is nothing to replay, PolicyError for what a board would not take.
    """
    found = Replayed()
    spans = recording.spans(addresses)
    total = sum(span.samples for span in spans)
    for span in spans:
        try:
            run = _Run(recording, span, policy, window, found)
            if not run.samples:
                continue
            for done in run.steps():
                passed(found.samples + done, total)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {error}"  # a lease without an owner, say
            raise RecordingError(f"{recording.path} is damaged ({what}).") from error
        found.decisions += run.decisions
        found.recorded += run.recorded
        found.samples += len(run.samples)
        found.seconds += run.samples[-1].at - run.samples[0].at
        if span.address not in found.boards:
            found.boards.append(span.address)
    if not found.samples:
        raise RecordingError(f"There are no samples to replay in {recording.path} in that time.")
    found.decisions.sort(key=lambda decision: decision.at)
    found.recorded.sort(key=lambda decision: decision.at)
    return found


def _is_decision(event: Event) -> bool:
    return event.kind in _DECISIONS or event.detail in _ENDS.get(event.kind, ())


class _Run:
    """One boot of one board, from the first sample to the last."""

    _agent: Agent
    _policy: Any  # the board's
    _requests: Requests

    def __init__(
        self, recording: Recording, span: Span, policy: Policy, window: Window, total: Replayed
    ) -> None:
        self.samples = list(recording.samples(span, ("interval_s", *COLUMNS), window))
        self.decisions: list[Decision] = []
        self.recorded: list[Decision] = []  # what the board did
        if not self.samples:
            return
        self._total = total
        self._span = span
        self._wanted = policy
        events = list(recording.events(span))
        changes, links = recording.changes(span), recording.links(span)
        self._line = Timeline(self.samples, events, changes, links)
        self._note_recorded(events)
        self._limits = Limits()  # of the board, as recorded
        self._levels = Levels()
        self._watched: dict[str, tuple[Any, ...]] = {}
        self._before: Sample | None = None
        self._at = self._uptime_s = self._missing_s = 0.0

    def _note_recorded(self, events: Sequence[Happened]) -> None:
        """Keep what the board did, to compare it with what the policy would have done."""
        self._alike: defaultdict[tuple[object, ...], list[tuple[float, int]]] = defaultdict(list)
        for happened in events:
            event = replace(happened.event, uptime_s=round(happened.event.uptime_s, 3))
            if not self._line.begin_s <= event.uptime_s <= self._line.end_s:
                continue
            if _is_decision(event) or event.kind in ("denied", "trim"):
                self._alike[_key(event)].append((event.uptime_s, len(self.recorded)))
                span = self._span
                self.recorded.append(
                    Decision(span.address, span.boot_id, happened.at, event, happened=True)
                )

    def steps(self) -> Iterator[int]:
        """Replay the boot; yield how many samples are done."""
        self._at, self._uptime_s = self.samples[0].at, self.samples[0].uptime_s
        early = self._line.early
        for moment in early:
            self._learn(moment.what)
        self._begin()
        done = 0
        for place, moment in enumerate(self._line.moments):
            what = moment.what
            if place >= len(early):
                self._pass(moment.uptime_s)
            elif isinstance(what, Event):
                continue
            if isinstance(what, (Sample, Lost)):
                self._sample(moment, self._crossings(place))
                if isinstance(what, Sample):
                    done += 1
                    yield done
            elif isinstance(what, Change):
                self._change(what)
            elif isinstance(what, Event):
                self._recorded(what)
            else:
                self._request(what)
            self._agent.deliver()

    def _learn(self, what: object) -> None:
        """Note how the board was when the first sample came."""
        if isinstance(what, Event):
            self._levels.learn(what)
        elif isinstance(what, Change) and what.what == "thresholds":
            self._levels.follow(what.value)
        elif isinstance(what, Change) and what.what == "limits":
            self._limits = Limits(**what.value)

    def _begin(self) -> None:
        """Make a board that has the policy, and knows nothing of what was before."""
        first = in_board_units(self.samples[0].figures[1:])
        start_ms = round(self.samples[0].uptime_s * 1000)
        self._agent = Agent(_DEFAULT_LIMITS, start_ms, first)
        self._policy = self._agent.policy
        self._requests = Requests(self._agent, self._compare)
        self._policy.events.on(None, self._happened)
        for quota in self._wanted.quotas or ():
            name, *figures = _conversion.quota(*quota.to_dict().values())
            self._policy.quotas[name] = tuple(figures)
        self._watched = {}
        self._set_limits()
        self._watch()

    def _pass(self, uptime_s: float) -> None:
        """Bring the clock there; what is over its time ends when it is."""
        self._at += uptime_s - self._uptime_s
        self._uptime_s = uptime_s
        self._agent.advance(round(uptime_s * 1000))
        self._agent.deliver()

    # --- samples --------------------------------------------------------------------------------

    def _crossings(self, place: int) -> list[Event]:
        """Return the thresholds that the board found crossed at the sample at this place."""
        moments = self._line.moments
        uptime_s = moments[place].uptime_s
        found = []
        place += 1
        while place < len(moments) and moments[place].uptime_s <= uptime_s:
            event = moments[place].what
            if isinstance(event, Event) and event.kind == "threshold":
                found.append(event)
            place += 1
        return found

    def _sample(self, moment: Moment, crossed: list[Event]) -> None:
        """Take a sample; of one that was lost, only what crossed a level is known."""
        before, sample = self._before, moment.what
        figures = before.figures if before else self.samples[0].figures
        if isinstance(sample, Sample):
            figures, self._at = sample.figures, sample.at
        now = Sample(self._at, moment.uptime_s, figures)
        uptime_ms = round(moment.uptime_s * 1000)
        period_s, after_gap = 0.0, False
        if before is not None:
            period_s = now.uptime_s - before.uptime_s
            interval_s = max(before.figures[0] or 0.0, figures[0] or 0.0)
            self._missing_s = round(max(0.0, period_s - interval_s), 3)
            broken = any(before.uptime_s <= at <= now.uptime_s for at in self._line.breaks)
            after_gap = broken or is_gap(period_s, interval_s)
        if after_gap:
            self._agent.gap(uptime_ms - 1)
        else:
            self._levels.add_times(period_s, self._total.would_s, self._total.did_s)
        lost = self._missing_s > period_s / 3
        is_seen = isinstance(sample, Sample)
        self._levels.begin_sample(crossed, round(period_s * 1000), lost, is_seen)
        is_known = is_seen or not after_gap
        self._agent.sample(uptime_ms, in_board_units(figures[1:]) if is_known else NOTHING)
        self._after_reset()
        self._before = now

    # --- what was recorded ------------------------------------------------------------------------

    def _change(self, change: Change) -> None:
        if change.what == "storage":
            self._agent.board.mount_rows = [_mount(row) for row in change.value]
        elif change.what == "limits":
            self._limits = Limits(**change.value)
            self._set_limits()
        elif change.what == "thresholds":
            self._levels.follow(change.value)
            self._watch()

    def _request(self, what: Begin | End | Preempted | Committed) -> None:
        if isinstance(what, Begin):
            self._requests.begin(what)
        elif isinstance(what, End):
            self._requests.end(what)
        elif isinstance(what, Preempted):
            self._requests.preempt(what)
        else:
            self._requests.commit(what)
        self._add_denials()

    def _recorded(self, event: Event) -> None:
        """An event of the board: what it refused, the policy may refuse, too."""
        self._levels.learn(event)
        if event.kind == "denied" and self._requests.denies(event):
            self._add(event)
        ends = ("expired",) if self._requests.is_lenient() else _ENDS["lease"]
        if event.kind == "lease" and event.detail in ends and self._line.was_short(event):
            self._add(event)

    def _compare(self, reason: str) -> int:
        """Return 1 if the policy is stricter than the board in what refuses, -1 more lenient."""
        limits, values = self._policy.limits(), _conversion.limits(*self._limits.to_dict().values())
        of_board = [d if v is None else v for d, v in zip(_DEFAULT_LIMITS, values, strict=True)]
        if reason == "pressure":
            return self._levels.compare_pressure()
        if reason in ("operations", "table", "learning"):
            return _sign(of_board[0] - limits[0])
        if reason.startswith("quota") or reason == "session":
            return 1 if self._wanted.quotas else 0
        return _sign(limits[2] - of_board[2])

    def _set_limits(self) -> None:
        """Set the policy's limits; where it names none, those of the board."""
        wanted = self._wanted.limits.to_dict()
        limits = self._limits.to_dict()
        both = {name: limits[name] if each is None else each for name, each in wanted.items()}
        self._requests.timeout_s = self._limits.operation_timeout_s
        self._policy.set_limits(*_conversion.limits(*both.values()))

    def _watch(self) -> None:
        """Set exactly the policy's thresholds; if it names none, those of the board."""
        thresholds = self._wanted.thresholds
        if thresholds is None:
            thresholds = tuple(self._levels.followed.values())
        wanted = {each.metric: arguments(each) for each in thresholds}
        table = self._policy.thresholds
        begins = self._before is None
        try:
            for threshold in table.all():
                if THRESHOLD_METRICS[threshold.metric] not in wanted:
                    table.set(threshold.metric)
            for name, args in wanted.items():
                if self._watched.get(name) != args:
                    table.set(*args)
        except ValueError as error:
            raise PolicyError(f"A board would not take this policy: {error}.") from None
        self._watched = wanted
        self._levels.watch(self._policy, begins)

    # --- what follows ---------------------------------------------------------------------------

    def _happened(self, row: tuple[Any, ...]) -> None:
        event = _conversion.event_from_row(row, 0)
        subject: Subject | None = None
        if isinstance(event.subject, int):
            if (event.kind, event.detail) == ("operation", "began"):
                self._requests.on_began(event.subject)
            subject = self._requests.known.get((event.kind, event.subject))
        if not _is_decision(event):
            return
        if subject is not None:
            event = replace(event, subject=subject.number)
        self._add(event, subject)

    def _add_denials(self) -> None:
        denials, self._requests.denials = self._requests.denials, []
        for denial in denials:
            self._add(_denied(denial, self._uptime_s), denial.subject)

    def _add(self, event: Event, subject: Subject | None = None) -> None:
        """Add a decision; one that the board took, too, is as the board's."""
        name = None if subject is None else subject.name
        event = replace(event, uptime_s=round(event.uptime_s, 3))
        same = self._same(event)
        if same is not None:
            self.decisions.append(replace(self.recorded[same], name=name))
            if event.kind == "collect":
                self.decisions += self._trims_after(same)
            return
        at = self._at + event.uptime_s - self._uptime_s
        span = self._span
        within_s = self._missing_s if event.kind in _DECISIONS else 0.0
        if event.detail in _BY_TIME and subject is not None:
            within_s = subject.within_s
        decision = Decision(span.address, span.boot_id, at, event, name, within_s=within_s)
        self.decisions.append(decision)

    def _same(self, event: Event) -> int | None:
        """Return the place of what the board did that is the same, which is then done."""
        alike = self._alike.get(_key(event), [])
        near_s = _SAME_SAMPLE_S if event.kind == "threshold" else _SAME_S
        begin = bisect_left(alike, (event.uptime_s - near_s,))
        end = bisect_right(alike, (event.uptime_s + near_s,))
        near = range(begin, end)
        best = min(near, key=lambda place: abs(alike[place][0] - event.uptime_s), default=None)
        return None if best is None else alike.pop(best)[1]

    def _trims_after(self, collected: int) -> Iterator[Decision]:
        """Yield what the application's functions gave back then: the policy calls them as well."""
        begin = self.recorded[collected].event
        for place in range(collected + 1, len(self.recorded)):
            event = self.recorded[place].event
            if event.kind == "collect" or event.uptime_s > begin.uptime_s + _TRIM_S:
                return
            if event.kind == "trim":
                yield self.recorded[place]

    def _after_reset(self) -> None:
        """A board that was reset begins anew, with nothing granted and nothing crossed."""
        if not self._agent.board.resets:
            return
        self._add(Event(0, "reset", self._uptime_s, None, "done"))
        mounts = self._agent.board.mount_rows
        self._begin()
        self._agent.board.mount_rows = mounts
        self._agent.advance(round(self._uptime_s * 1000))


def _key(event: Event) -> tuple[object, ...]:
    return (event.kind, event.subject, event.detail)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _denied(denial: Denial, uptime_s: float) -> Event:
    """Return the refusal as an event; its subject is the id of what the board granted."""
    return Event(0, "denied", uptime_s, denial.subject.number, denial.reason, denial.amount)


def _mount(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a mount as the board has it, in blocks."""
    block = row["block_bytes"] or 1
    total, used, available = (row[name] or 0 for name in _SIZES)
    return (row["mount"], block, total // block, (total - used) // block, available // block)
