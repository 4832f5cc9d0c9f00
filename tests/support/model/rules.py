"""What the board should decide, said as plainly as it can be: no threads, no frames, no reuse.

It follows docs/board.md, not the board's code: dictionaries by id, one clock in milliseconds, and
one rule for places, `give_places`, applied after whatever happened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MEMORY, STORAGE, CPU_TIME, BANDWIDTH = range(4)
HIGH = 2
WAITING, ACTIVE, STOPPING, OVERDUE = range(4)
ABANDONED_MS = 60_000
IN_PLACE = (ACTIVE, STOPPING)
MAX_LEASES, MAX_OPERATIONS, MAX_SESSIONS = 16, 12, 8
GRACE_MS = 2000
REASONS = ("memory", "storage", "cpu_time", "bandwidth")
NO_AMOUNT = 0x3FFFFFFF  # more than any board has


class Denied(Exception):
    """The board refuses; the argument is the reason."""


class Bad(Exception):
    """The arguments make no sense."""


@dataclass
class Lease:
    id: int
    kind: int
    amount: int
    owner: str
    priority: int
    ends: int | None
    session: int | None = None
    mount: str | None = None
    consents: bool = False
    taken: bool = False  # it shows in what the board measures


@dataclass
class Operation:
    id: int
    priority: int
    timeout_ms: int
    memory: int | None
    gives_up: int  # when it has waited enough
    session: int | None
    state: int = WAITING
    until: int | None = None  # its time, or its grace when it is stopping
    lease: int | None = None
    why: str | None = None


@dataclass
class Session:
    id: int
    quotas: tuple[int | None, int | None, int | None]
    ttl_ms: int | None
    ends: int | None


@dataclass
class Rules:
    limit: int
    now: int = 0
    reserve_permille: int = 100
    leases: dict[int, Lease] = field(default_factory=dict)
    operations: dict[int, Operation] = field(default_factory=dict)
    sessions: dict[int, Session] = field(default_factory=dict)
    made: list[int] = field(default_factory=lambda: [0, 0, 0])  # ids given out so far
    whys: dict[int, str] = field(default_factory=dict)  # why operations had to stop, for good

    # --- leases ---------------------------------------------------------------------------------

    def there_is(self, kind: int, mount: str | None) -> int:
        """Return what of a kind could be granted if nothing was; the figures of virtual_board."""
        if kind == MEMORY:
            return 150_000 - 200 * self.reserve_permille
        if kind == STORAGE:
            blocks = 50 - self.reserve_permille // 10
            return 4096 * blocks if mount in ("/", "/sd") else 0
        return 900 if kind == CPU_TIME else NO_AMOUNT

    def rivals(self, kind: int, mount: str | None) -> list[Lease]:
        return [x for x in self.leases.values() if (x.kind, x.mount) == (kind, mount)]

    def allocate(
        self,
        kind: int,
        amount: int,
        owner: str,
        priority: int,
        ttl_ms: int | None,
        session: int | None = None,
        backed: bool = False,
        consents: bool = False,
        mount: str | None = None,
    ) -> int:
        """Return the new lease's id. A higher priority takes what others agreed to give, if that
        is enough; of the lowest priority first, then the newest, and no more than is needed."""
        mount = (mount or "/") if kind == STORAGE else None
        while True:
            left = self.there_is(kind, mount) - sum(x.amount for x in self.rivals(kind, mount))
            full = len(self.leases) == MAX_LEASES
            if amount <= left and not full:
                break
            weaker = [x for x in self.leases.values() if x.consents and x.priority < priority]
            alike = [x for x in weaker if (x.kind, x.mount) == (kind, mount)]
            enough = amount <= left + sum(x.amount for x in alike)
            victims = (weaker if full else alike) if enough else []
            if not victims:
                raise Denied("table" if full else REASONS[kind])
            self.release(min(victims, key=lambda x: (x.priority, -x.id)).id)
        self.made[0] += 1
        ends = None if ttl_ms is None else self.now + ttl_ms
        self.leases[self.made[0]] = Lease(
            self.made[0], kind, amount, owner, priority, ends, session, mount, consents, backed
        )
        return self.made[0]

    def allocate_in(self, session: int | None, kind: int, amount: int, *rest: Any) -> int:
        """As allocate, for a session with its quota; what makes no sense is told first of all."""
        if not 0 < amount <= NO_AMOUNT or (rest[3] and kind != MEMORY):
            raise Bad
        if session is not None:
            self.within_quota(session, kind, amount)
        return self.allocate(kind, amount, *rest[:3], session, *rest[3:])

    def release(self, lease_id: int | None) -> None:
        self.leases.pop(lease_id or 0, None)

    def commit(self, lease_id: int) -> None:
        if lease_id in self.leases:
            self.leases[lease_id].taken = True

    # --- operations -----------------------------------------------------------------------------

    def in_place(self) -> int:
        return sum(op.state in IN_PLACE for op in self.operations.values())

    def first_waiting(self) -> Operation | None:
        waiting = [op for op in self.operations.values() if op.state == WAITING]
        return min(waiting, key=lambda op: (-op.priority, op.id), default=None)

    def victim(self, priority: int) -> Operation | None:
        """Return whose place HIGH and CRITICAL take where none is free."""
        if priority < HIGH or self.in_place() < self.limit:
            return None
        weak = [op for op in self.operations.values() if op.state == ACTIVE and op.priority < HIGH]
        return min(weak, key=lambda op: (op.priority, -op.id), default=None)

    def may_enter(self, priority: int) -> bool:
        """Tell whether a newcomer has a place at once: it overtakes no equal that waits."""
        first = self.first_waiting()
        return self.in_place() < self.limit and (first is None or first.priority < priority)

    def can_execute(self, priority: int) -> bool:
        return self.may_enter(priority) or self.victim(priority) is not None

    def begin(
        self,
        priority: int,
        timeout_ms: int | None,
        memory: int | None,
        wait_ms: int,
        session: int | None = None,
    ) -> list[int]:
        """Return the new operation's id and state."""
        enters, victim = self.may_enter(priority), self.victim(priority)
        if victim is not None:
            wait_ms = max(wait_ms, GRACE_MS)
        if not enters and wait_ms == 0:
            raise Denied("operations")
        if len(self.operations) == MAX_OPERATIONS:
            raise Denied("table")
        self.made[1] += 1
        gives_up = self.now + wait_ms
        timeout_ms = 300_000 if timeout_ms is None else timeout_ms
        op = Operation(self.made[1], priority, timeout_ms, memory, gives_up, session)
        if victim is not None:
            self.stop(victim, "Preempted")
        if enters:
            self.admit(op)
        self.operations[op.id] = op
        return [op.id, op.state]

    def admit(self, op: Operation) -> None:
        """Give a place and the memory in one step, all or nothing."""
        if op.memory:
            op.lease = self.allocate(
                MEMORY, op.memory, "op", op.priority, op.timeout_ms, op.session
            )
        op.state = ACTIVE
        op.until = self.now + op.timeout_ms

    def stop(self, op: Operation, why: str) -> None:
        if op.state != ACTIVE:
            return
        op.state, op.why, op.until = STOPPING, why, self.now + GRACE_MS
        self.whys[op.id] = why

    def complete(self, op_id: int) -> None:
        op = self.operations.pop(op_id, None)
        if op is not None:
            self.release(op.lease)

    def give_places(self) -> None:
        """Free places go to those that wait, in turn; who lacks memory keeps its turn."""
        while self.in_place() < self.limit and (op := self.first_waiting()) is not None:
            try:
                self.admit(op)
            except Denied:
                return

    # --- sessions -------------------------------------------------------------------------------

    def open(
        self, memory: int | None, storage: int | None, operations: int | None, ttl_ms: int | None
    ) -> int:
        if len(self.sessions) == MAX_SESSIONS:
            raise Denied("table")
        self.made[2] += 1
        session = Session(self.made[2], (memory, storage, operations), ttl_ms, None)
        self.sessions[session.id] = session
        self.renew(session.id)
        return session.id

    def renew(self, session_id: int) -> None:
        session = self.sessions.get(session_id)
        if session is not None and session.ttl_ms is not None:
            session.ends = self.now + session.ttl_ms

    def use(self, session_id: int) -> Session:
        if session_id not in self.sessions:
            raise Denied("session")
        self.renew(session_id)
        return self.sessions[session_id]

    def within_quota(self, session_id: int, kind: int, amount: int) -> None:
        """Refuse what exceeds the quota; the memory that a waiting one will want counts too."""
        session = self.use(session_id)
        quota = session.quotas[kind] if kind <= STORAGE else None
        mine = [x.amount for x in self.leases.values() if (x.session, x.kind) == (session_id, kind)]
        if kind == MEMORY:
            mine += [op.memory or 0 for op in self.theirs(session_id) if op.state == WAITING]
        if quota is not None and sum(mine) + amount > quota:
            raise Denied("quota:" + REASONS[kind])

    def theirs(self, session_id: int) -> list[Operation]:
        return [op for op in self.operations.values() if op.session == session_id]

    def begin_in(
        self, session: int | None, priority: int, timeout_ms: int, memory: int | None, wait: int
    ) -> list[int]:
        """As begin, for a session with its quotas; what makes no sense is told first of all."""
        if memory is not None and not 0 < memory <= NO_AMOUNT:
            raise Bad
        if session is not None:
            quota = self.use(session).quotas[2]
            if quota is not None and len(self.theirs(session)) >= quota:
                raise Denied("quota:operations")
            if memory:
                self.within_quota(session, MEMORY, memory)
        return self.begin(priority, timeout_ms, memory, wait, session)

    def close(self, *session_ids: int) -> None:
        """With a session all that is its own ends; of several at once, none gains by another's."""
        for session_id in session_ids:
            if self.sessions.pop(session_id, None) is None:
                continue
            for op in self.theirs(session_id):
                self.stop(op, "Preempted")
                self.complete(op.id)
            for lease in [x for x in self.leases.values() if x.session == session_id]:
                self.release(lease.id)
        self.give_places()

    # --- time -----------------------------------------------------------------------------------

    def over(self, moment: int | None) -> bool:
        return moment is not None and moment <= self.now

    def tick(self) -> None:
        """End what is over its time: leases, then operations, then waiting, then sessions."""
        for lease in [x for x in self.leases.values() if self.over(x.ends)]:
            self.release(lease.id)
        for op in list(self.operations.values()):
            if op.state == ACTIVE and self.over(op.until):
                self.stop(op, "TimedOut")
            elif op.state == STOPPING and self.over(op.until):
                op.state, op.until = OVERDUE, self.now + ABANDONED_MS
            elif op.state == OVERDUE and self.over(op.until):
                self.complete(op.id)
        self.give_places()
        for op in list(self.operations.values()):
            if op.state == WAITING and self.over(op.gives_up):
                self.complete(op.id)
        self.give_places()
        self.close(*[x.id for x in self.sessions.values() if self.over(x.ends)])

    # --- what there is --------------------------------------------------------------------------

    def left(self, moment: int | None) -> int | None:
        return None if moment is None else max(0, moment - self.now)

    def state(self) -> dict[str, Any]:
        """Return all there is, as `poll` of firmware_tests/remote_rig.py has it."""
        leases = sorted(self.leases.values(), key=lambda x: x.id)
        operations = sorted(self.operations.values(), key=lambda x: x.id)
        waits = [[x.amount for x in leases if x.kind == k and not x.taken] for k in range(4)]
        return {
            "leases": [[x.id, x.kind, x.amount, x.owner, self.left(x.ends)] for x in leases],
            "operations": [[x.id, x.state, self.left(x.until)] for x in operations],
            "sessions": [[x.id, self.left(self.sessions[x.id].ends)] for x in self._open()],
            "outstanding": [sum(amounts) for amounts in waits],
            "in_place": self.in_place(),
        }

    def _open(self) -> list[Session]:
        return sorted(self.sessions.values(), key=lambda x: x.id)
