"""Repeats the recorded leases, operations and sessions against the replayed policy.

What the board granted, and did, the replayed policy grants and does, too, unless it is stricter, or
more lenient, in what decides that: figures between two samples are not in a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from boardwarden.grants import Event
from boardwarden.models import Priority, ResourceType

from .agent import load
from .timeline import Begin, Committed, End, Preempted

_HIGHEST = 2**30 - 1
_PLACES = 12  # more than may be occupied
_NAMES = {
    "lease": ("resource", "priority", "owner"),
    "operation": ("state", "priority", "name"),
    "session": ("name",),
}
_ANY: dict[str, Any] = {"name": "", "priority": "normal", "state": "active", "session": None}
_END = {"lease": "release", "operation": "complete", "session": "close"}


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
        row = begin.row or _ANY
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
