"""Repeats the recorded leases, operations and sessions against the replayed policy."""

from __future__ import annotations

from typing import Any, NamedTuple

from boardwarden.models import OperationState, Priority, ResourceType
from boardwarden.recording.reading import Change

from .agent import load

_LONG_MS = 600_000  # an operation that was seen to wait
_SLACK_S = 1.5  # a timeout was seen a moment after it began
_HIGHEST = 2**30 - 1


class Subject(NamedTuple):
    """A recorded lease or operation: its id on the board, and its owner or name."""

    number: int
    name: str


class Denial(NamedTuple):
    """The replayed policy refused what the board granted."""

    what: str  # lease or operation
    subject: Subject
    reason: str
    amount: float | None


class Requests:
    """Keeps the replayed tables like the recorded ones; `known` maps to the replay's ids."""

    def __init__(self, policy: Any) -> None:
        self.known: dict[tuple[str, int], Subject] = {}
        self.denials: list[Denial] = []
        self.timeout_s: float | None = None  # of operations that named none, when it was recorded
        self._policy = policy
        self._denied = load("errors").Denied
        self._granted: dict[tuple[str, int], Any] = {}

    def follow(self, change: Change) -> None:
        """Request what is new, and release what is gone."""
        if change.number is None:
            return
        key = (change.what, change.number)
        if change.value is None:
            self._end(key)
        elif key in self._granted:
            self._renew(change.what, self._granted[key], change.value)
        else:
            self._request(key, change.value)

    def _request(self, key: tuple[str, int], row: dict[str, Any]) -> None:
        what, number = key
        subject = Subject(number, str(row.get("owner", row.get("name", ""))))
        self._granted[key] = None  # it is not requested again
        if not all(isinstance(row.get(name), str) for name in _NAMES[what]):
            return  # a newer board's
        try:
            granted = getattr(self, f"_request_{what}")(row)
        except self._denied as error:
            amount = row.get("amount")
            self.denials.append(Denial(what, subject, str(error.reason), amount))
            return
        self._granted[key] = granted
        self.known[what, granted.id] = subject

    def _request_lease(self, row: dict[str, Any]) -> Any:
        kind = ResourceType[row["resource"].upper()]
        amount = row["amount"] * 1000 if kind is ResourceType.CPU_TIME else row["amount"]
        lease = self._policy.leases.allocate(
            int(kind),
            min(round(amount), _HIGHEST),
            session=self._session(row),
            priority=int(Priority[row["priority"].upper()]),
            owner=row["owner"],
            ttl_ms=_ms(row["remaining_s"]),
            mount=row["mount"],
        )
        self._renew("lease", lease, row)
        return lease

    def _request_operation(self, row: dict[str, Any]) -> Any:
        # Its memory is a lease of its own in the recording.
        waits = row["state"] == OperationState.WAITING.name.lower()
        operations = self._policy.operations
        op = operations.new(
            row["name"],
            session=self._session(row),
            priority=int(Priority[row["priority"].upper()]),
            timeout_ms=None if waits else self._timeout_ms(row["remaining_s"]),
            wait_ms=_LONG_MS if waits else 0,
        )
        return operations.begin(op)

    def _request_session(self, row: dict[str, Any]) -> Any:
        quotas = (row["memory_bytes"], row["storage_bytes"], row["operations"])
        return self._policy.sessions.open(row["name"], *quotas)

    def _renew(self, what: str, granted: Any, row: dict[str, Any]) -> None:
        if what == "lease" and granted is not None and row["committed"] and not granted.committed:
            granted.commit()

    def _end(self, key: tuple[str, int]) -> None:
        granted = self._granted.pop(key, None)
        if granted is None:
            return
        end = {"lease": "release", "operation": "complete", "session": "close"}[key[0]]
        getattr(granted, end)()

    def _session(self, row: dict[str, Any]) -> Any:
        session = self._granted.get(("session", row["session"]))
        return session if session in self._policy.sessions.rows else None

    def _timeout_ms(self, left_s: float | None) -> int | None:
        """Return what an operation named; None if it took the board's own, as far as is seen."""
        if left_s is None or (self.timeout_s is not None and _near(left_s, self.timeout_s)):
            return None
        return _ms(left_s)


_NAMES = {
    "lease": ("resource", "priority", "owner"),
    "operation": ("state", "priority", "name"),
    "session": ("name",),
}


def _near(left_s: float, timeout_s: float) -> bool:
    return timeout_s - _SLACK_S <= left_s <= timeout_s


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, round(seconds * 1000))
