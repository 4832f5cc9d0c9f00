"""Runs a policy over a recording: the board's own code decides on the recorded figures.

What was is not changed by what would have been done: memory that the policy would have had given
back is still in the figures after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from typing import Any

from boardwarden import _arguments
from boardwarden._mirror import event_log
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.errors import PolicyError, RecordingError
from boardwarden.grants import Event, Limits, Threshold
from boardwarden.models import Action, Model
from boardwarden.policy.model import Policy
from boardwarden.recording.reading import Change, Recording, Sample, Span, Window

from .agent import COLUMNS, Agent, in_board_units
from .requests import Denial, Requests, Subject

_DEFAULT_LIMITS = (4, 300_000, 100, 5000)  # device/warden/api.py
_STORAGE_DELAY_S = 0.1  # at most, from a sample to the storage that it found
_LATE = 3  # intervals without a sample, and
_LATE_S = 1.0  # so much more: what happened meanwhile is not known
_ENDS = {  # what ends by a decision; that it ended at its holder's wish was recorded anyway
    "operation": ("preempted", "timed out", "overdue"),
    "lease": ("preempted",),
}
_SIZES = ("total_bytes", "used_bytes", "available_bytes")
_DECISIONS = ("threshold", "collect", "reset")


@dataclass(frozen=True)
class Decision(Model):
    """What the policy would have done; `name` is whose lease or operation `event.subject` is."""

    address: str = ""
    boot_id: int | None = None
    at: float = 0.0  # seconds since the epoch
    event: Event = field(default_factory=Event)
    name: str | None = None


@dataclass
class Replayed:
    """The result of a replay: all decisions, in order, and what was replayed."""

    decisions: list[Decision] = field(default_factory=list)
    recorded: list[Decision] = field(default_factory=list)  # what the boards did, likewise
    boards: list[str] = field(default_factory=list)
    samples: int = 0
    seconds: float = 0.0


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
        run = _Run(recording, span, policy, window)
        if not run.samples:
            continue
        try:
            for done in run.steps():
                passed(found.samples + done, total)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {error}"  # a lease without an owner, say
            raise RecordingError(f"{recording.path} is damaged ({what}).") from error
        found.decisions += run.decisions
        found.recorded += _recorded(recording, span, (run.samples[0].at, run.samples[-1].at))
        found.samples += len(run.samples)
        found.seconds += run.samples[-1].at - run.samples[0].at
        if span.address not in found.boards:
            found.boards.append(span.address)
    if not found.samples:
        raise RecordingError(f"There are no samples to replay in {recording.path} in that time.")
    found.decisions.sort(key=lambda decision: decision.at)
    found.recorded.sort(key=lambda decision: decision.at)
    return found


def _recorded(recording: Recording, span: Span, window: Window) -> list[Decision]:
    return [
        Decision(span.address, span.boot_id, happened.at, happened.event)
        for happened in recording.events(span, window)
        if _is_decision(happened.event) or happened.event.kind in ("denied", "trim")
    ]


def _is_decision(event: Event) -> bool:
    return event.kind in _DECISIONS or event.detail in _ENDS.get(event.kind, ())


class _Run:
    """One boot of one board, from the first sample to the last."""

    _agent: Agent
    _decide: Any  # the board's Policy
    _requests: Requests

    def __init__(self, recording: Recording, span: Span, policy: Policy, window: Window) -> None:
        self.samples = list(recording.samples(span, ("interval_s", *COLUMNS), window))
        self.decisions: list[Decision] = []
        self._span = span
        self._wanted = policy
        self._breaks = [link.at for link in recording.links(span) if link.state != "up"]
        self._changes = list(recording.changes(span)) if self.samples else []
        self._limits = Limits()  # of the board, as recorded
        self._thresholds: tuple[Threshold, ...] = ()  # likewise
        self._watched: dict[str, tuple[Any, ...]] = {}
        self._at = self._uptime_s = 0.0

    def steps(self) -> Iterator[int]:
        """Replay the boot; yield how many samples are done."""
        self._at, self._uptime_s = self.samples[0].at, self.samples[0].uptime_s
        self._begin()
        before: Sample | None = None
        done = 0
        for _, moment in self._in_order():
            if isinstance(moment, Change):
                self._change(moment, before)
                continue
            if before is not None and self._is_gap(before, moment):
                self._agent.gap(round(moment.uptime_s * 1000) - 1)
            self._at, self._uptime_s = moment.at, moment.uptime_s
            self._agent.sample(round(moment.uptime_s * 1000), in_board_units(moment.figures[1:]))
            self._after_reset()
            before = moment
            done += 1
            yield done

    def _begin(self) -> None:
        """Make a board that has the policy, and knows nothing of what was before."""
        first = in_board_units(self.samples[0].figures[1:])
        start_ms = round(self.samples[0].uptime_s * 1000)
        self._agent = Agent(_DEFAULT_LIMITS, start_ms, first)
        self._policy = self._agent.policy
        self._requests = Requests(self._policy)
        self._policy.events.on(None, self._happened)
        for quota in self._wanted.quotas or ():
            name, *figures = _arguments.quota(*quota.to_dict().values())
            self._policy.quotas[name] = tuple(figures)
        self._watched = {}
        self._set_limits()
        self._watch()

    def _in_order(self) -> Iterator[tuple[float, Sample | Change]]:
        """Yield samples and changes as they came; those of storage before the sample they are of.

        What was recorded before the first sample is how it was then.
        """
        first = self.samples[0].at
        changes = [(self._moment(each, first), each) for each in self._changes]
        changes.sort(key=lambda pair: pair[0])
        samples = ((sample.at, sample) for sample in self.samples)
        return merge(changes, samples, key=lambda pair: pair[0])

    def _moment(self, change: Change, first: float) -> float:
        if change.at <= first:
            return first - _STORAGE_DELAY_S
        return change.at - _STORAGE_DELAY_S if change.what == "storage" else change.at

    def _is_gap(self, before: Sample, after: Sample) -> bool:
        interval = max(before.figures[0] or 0.0, after.figures[0] or 0.0)
        if after.uptime_s - before.uptime_s > _LATE * interval + _LATE_S:
            return True
        return any(before.at <= at <= after.at for at in self._breaks)

    # --- what was recorded ------------------------------------------------------------------------

    def _change(self, change: Change, before: Sample | None) -> None:
        if change.what == "storage":
            self._agent.board.mount_rows = [_mount(row) for row in change.value]
        elif change.what == "limits":
            self._limits = Limits(**change.value)
            self._set_limits()
        elif change.what == "thresholds":
            self._thresholds = tuple(_threshold(row) for row in change.value)
            self._watch()
        elif change.what in ("lease", "operation", "session"):
            if before is not None:
                self._at = change.at
                self._uptime_s = before.uptime_s + max(0.0, change.at - before.at)
                self._agent.advance(round(self._uptime_s * 1000))
            self._requests.follow(change)
            self._add_denials()
        self._agent.deliver()

    def _set_limits(self) -> None:
        """Set the policy's limits; where it names none, those of the board."""
        wanted = self._wanted.limits.to_dict()
        limits = self._limits.to_dict()
        both = {name: limits[name] if each is None else each for name, each in wanted.items()}
        self._requests.timeout_s = self._limits.operation_timeout_s
        self._policy.set_limits(*_arguments.limits(*both.values()))

    def _watch(self) -> None:
        """Set exactly the policy's thresholds; if it names none, those of the board."""
        thresholds = self._wanted.thresholds
        if thresholds is None:
            thresholds = self._thresholds
        wanted = {each.metric: _threshold_args(each) for each in thresholds}
        table = self._policy.thresholds
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

    # --- what follows ---------------------------------------------------------------------------

    def _happened(self, row: tuple[Any, ...]) -> None:
        event = event_log.event_from_row(row, 0)
        if not _is_decision(event):
            return
        subject: Subject | None = None
        if isinstance(event.subject, int):
            subject = self._requests.known.get((event.kind, event.subject))
        if subject is not None:
            event = replace(event, subject=subject.number)
        self._add(event, subject.name if subject else None)

    def _add_denials(self) -> None:
        denials, self._requests.denials = self._requests.denials, []
        for denial in denials:
            self._add(_denied(denial, self._uptime_s), denial.subject.name)

    def _add(self, event: Event, name: str | None = None) -> None:
        at = self._at + event.uptime_s - self._uptime_s
        span = self._span
        self.decisions.append(Decision(span.address, span.boot_id, at, event, name))

    def _after_reset(self) -> None:
        """A board that was reset begins anew, with nothing granted and nothing crossed."""
        if not self._agent.board.resets:
            return
        self._add(Event(0, "reset", self._uptime_s, None, "done"))
        mounts = self._agent.board.mount_rows
        self._begin()
        self._agent.board.mount_rows = mounts
        self._agent.advance(round(self._uptime_s * 1000))


def _denied(denial: Denial, uptime_s: float) -> Event:
    """Return the refusal as an event; its subject is the id of what the board granted."""
    return Event(0, "denied", uptime_s, denial.subject.number, denial.reason, denial.amount)


def _mount(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a mount as the board has it, in blocks."""
    block = row["block_bytes"] or 1
    total, used, available = (row[name] or 0 for name in _SIZES)
    return (row["mount"], block, total // block, (total - used) // block, available // block)


def _threshold(row: dict[str, Any]) -> Threshold:
    names = ("metric", "warn", "critical", "clear", "hold_s")
    return Threshold(**{name: row[name] for name in names}, action=Action[row["action"].upper()])


def _threshold_args(threshold: Threshold) -> tuple[Any, ...]:
    """Return what the board is asked for a threshold."""
    levels = (threshold.warn, threshold.critical, threshold.clear)
    return _arguments.threshold(threshold.metric, *levels, threshold.hold_s, threshold.action)
