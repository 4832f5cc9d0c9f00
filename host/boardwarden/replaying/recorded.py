"""Holds a replay to what the board found and granted, where the policy does not decide otherwise.

Samples may lack what the board saw: one was lost, a hold began before the recording, a forecast has
an older past; figures between two samples are not in a recording. What the board decided is.

- A threshold that is nowhere more lenient is never at a lower level than the board's; nor, where
  samples do not show it, at a higher one, if it is nowhere stricter.
- Leases, operations and sessions are granted, and end, as the board's did, unless the policy is
  stricter, or more lenient, in what decides that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from boardwarden._quantities import THRESHOLD_METRICS, in_thousandths
from boardwarden.grants import Event, Threshold
from boardwarden.models import Action, Priority, ResourceType
from boardwarden.policy import arguments
from warden_schema import ids

from .agent import load
from .timeline import Begin, Committed, End, Preempted

_HIGHEST = 2**30 - 1
_PLACES = 12  # more than may be occupied
_NAMES = {
    "lease": ("resource", "priority", "owner"),
    "operation": ("state", "priority", "name"),
    "session": ("name",),
}
_UNKNOWN_ROW: dict[str, Any] = {
    "name": "",
    "priority": "normal",
    "state": "active",
    "session": None,
}
_END = {"lease": "release", "operation": "complete", "session": "close"}
_NO_LEVEL = float("inf")  # of a level that is not set
_ANY_LEVEL = (0, 2)
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
                return _ANY_LEVEL
            level = self._found.get(_BLOCK, None if self._lost else 0)
            return _ANY_LEVEL if level is None else (level, level)
        level = self._found.get(name)
        if level is None or name not in self.followed:
            return _ANY_LEVEL
        compared = self.compare(name)
        if compared is None:
            return _ANY_LEVEL
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
    return (*(_NO_LEVEL if each is None else each * entry.sign for each in levels), entry.hold_ms)


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


# --- what was granted -----------------------------------------------------------------------------


class Subject(NamedTuple):
    """A recorded lease or operation: its id on the board, and its owner or name.

    within_s: how exactly the end of its time is known.
    """

    number: int
    name: str | None
    within_s: float = 0.0


class Denial(NamedTuple):
    """The replayed policy refused what the board granted."""

    subject: Subject
    reason: str
    amount: float | None


class Requests:
    """Keeps the replayed tables like the recorded ones; `known` maps to the replay's ids.

    compare(reason): 1 if the policy is stricter there than what the board followed, -1 if it is
    more lenient, 0 if it is the same.
    """

    def __init__(self, agent: Any, compare: Callable[[str], int]) -> None:
        self.known: dict[tuple[str, int], Subject] = {}
        self.denials: list[Denial] = []
        self.timeout_s: float | None = None  # of operations that named none, when it was recorded
        self._agent = agent
        self._policy = agent.policy
        self._compare = compare
        self._denied = load("errors").Denied
        self._granted: dict[tuple[str, int], Any] = {}
        self._begun: dict[int, Begin] = {}  # operations
        self._active: set[int] = set()  # those that got a place, by the replay's ids

    def begin(self, begin: Begin) -> None:
        """Request what was granted."""
        key = (begin.what, begin.number)
        row = begin.row or _UNKNOWN_ROW
        name = str(row.get("owner", row.get("name"))) if begin.row else None
        if not all(isinstance(row.get(each), str) for each in _NAMES[begin.what]):
            return  # a newer board's
        timeout_ms = self._timeout_ms(begin)
        least_s, most_s = begin.range_s
        exact = timeout_ms is None or begin.timeout_s is None
        subject = Subject(begin.number, name, 0.0 if exact else round(most_s - least_s, 3))
        try:
            granted = self._request(begin, row, timeout_ms)
        except self._denied as error:
            reason = str(error.reason)
            if self._compare(reason) > 0:
                amount = begin.row.get("amount")
                self.denials.append(Denial(subject, reason, amount))
                return
            granted = None
            with self._room(), suppress(self._denied):
                granted = self._request(begin, row, timeout_ms)
            if granted is None:  # many ends were lost
                return
        self._granted[key] = granted
        self.known[begin.what, granted.id] = subject
        if begin.what == "operation":
            self._begun[begin.number] = begin
            if not begin.row:  # its priority is not known, but whether it was preempted
                granted.priority = int(Priority.LOW if begin.was_preempted else Priority.HIGH)

    def end(self, end: End) -> None:
        """End what its holder ended."""
        granted = self._granted.pop((end.what, end.number), None)
        if granted is not None:
            if end.what == "operation" and granted.id not in self._active:
                self._note_waited(end.number)
            getattr(granted, _END[end.what])()

    def commit(self, committed: Committed) -> None:
        """Say that the holder of a lease uses it."""
        lease = self._granted.get(("lease", committed.number))
        if lease is not None:
            lease.commit()

    def preempt(self, preempted: Preempted) -> None:
        """End what the board preempted: a host may have requested that, or another lease.

        Not where the policy is more lenient: it has its own reasons then.
        """
        granted = self._granted.get((preempted.what, preempted.number))
        if granted is None or self.is_lenient():
            return
        if preempted.what == "lease":
            self._policy.leases.end(granted, "preempted")
        else:
            self._policy.operations.preempt(granted)

    def is_lenient(self) -> bool:
        """Tell whether the policy may preempt less than what the board followed."""
        return self._compare("pressure") < 0 or self._compare("operations") < 0

    def denies(self, denied: Event) -> bool:
        """Return whether the policy refuses, too, what the board refused; it is not known who."""
        reason = denied.detail or ""
        if reason == "pressure":
            return bool(self._policy.pressure.refuses(Priority.NORMAL))
        if reason not in ("operations", "memory") or self._compare(reason) >= 0:
            return True
        if reason == "operations":
            return not self._policy.operations.can_execute(Priority.NORMAL)
        leases, memory = self._policy.leases, int(ResourceType.MEMORY)
        left = self._policy.available(memory, None) - leases.outstanding(memory)
        return denied.value is None or bool(left < denied.value)

    def on_began(self, number: int) -> None:
        """An operation (by the replay's id) got its place."""
        self._active.add(number)

    # --- inside ---------------------------------------------------------------------------------

    def _request(self, begin: Begin, row: dict[str, Any], timeout_ms: int | None) -> Any:
        if begin.what == "session":
            quotas = (row["memory_bytes"], row["storage_bytes"], row["operations"])
            return self._policy.sessions.open(row["name"], *quotas)
        priority = int(Priority[row["priority"].upper()])
        session = self._granted.get(("session", row["session"]))
        if session not in self._policy.sessions.rows:
            session = None
        if begin.what == "operation":
            # Its memory is a lease of its own in the recording.
            operations = self._policy.operations
            wait_ms = _ms(begin.wait_s) or 0
            op = operations.new(row["name"] or "?", priority, timeout_ms, None, wait_ms, session)
            return operations.begin(op)
        kind = ResourceType[row["resource"].upper()]
        amount = row["amount"] * 1000 if kind is ResourceType.CPU_TIME else row["amount"]
        lease = self._policy.leases.allocate(
            int(kind),
            min(round(amount), _HIGHEST),
            session=session,
            priority=priority,
            owner=row["owner"],
            ttl_ms=timeout_ms,
            mount=row["mount"],
        )
        if row["committed"]:
            lease.commit()
        return lease

    def _note_waited(self, number: int) -> None:
        """An operation waited for a place to its end; that is a refusal, unless it did before."""
        begin = self._begun.get(number)
        name = begin.row.get("name") if begin else None
        subject = Subject(number, name)
        if begin is not None and begin.ran:
            self.denials.append(Denial(subject, "operations", None))

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Have room for whatever was granted, though the figures do not show it."""
        policy, board = self._policy, self._agent.board
        sessions = [session for session in policy.sessions.rows if session is not None]
        quotas = [(each.memory, each.storage, each.operations) for each in sessions]
        for each in sessions:
            each.memory = each.storage = each.operations = None
        before = (policy.max_operations, policy.memory_reserve_permille, policy.pressure.level)
        free, mounts, cpu = board.free_bytes, board.mount_rows, self._agent.cpu_permille
        policy.max_operations, policy.memory_reserve_permille, policy.pressure.level = (
            _PLACES, 0, 0,
        )  # fmt: skip
        board.free_bytes = _HIGHEST
        board.mount_rows = [(*row[:2], _HIGHEST, _HIGHEST, _HIGHEST) for row in mounts]
        self._agent.cpu_permille = 0
        try:
            yield
        finally:
            policy.max_operations, policy.memory_reserve_permille, policy.pressure.level = before
            board.free_bytes, board.mount_rows, self._agent.cpu_permille = free, mounts, cpu
            for each, quota in zip(sessions, quotas, strict=True):
                each.memory, each.storage, each.operations = quota

    def _timeout_ms(self, begin: Begin) -> int | None:
        """Return the time that is left of what it named, or, of a lease, the time to its end.

        None for an operation that took the board's own, as far as is seen.
        """
        if begin.what == "session" or begin.timeout_s is None:
            return None
        timeout_s = begin.timeout_s
        least_s, most_s = begin.range_s
        own_s = self.timeout_s
        if begin.what == "operation" and own_s is not None and least_s <= own_s <= most_s:
            if not begin.elapsed_s:
                return None
            timeout_s = self._policy.operation_timeout_ms / 1000
        return _ms(max(0.0, timeout_s - begin.elapsed_s))


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, round(seconds * 1000))
