"""Sessions: owners of leases and operations, with quotas; closing one ends all that it owns."""

from micropython import const

from warden.checks import check_int
from warden.errors import check_text, deny
from warden.policy.deadlines import Row, Rows, end_entry
from warden_schema.codec import cut

_MAX_NAME = const(24)  # bytes of UTF-8; longer ones are cut
_MAX_QUOTA = const(0x3FFFFFFF)
_QUOTA_MEMORY = const(0)  # kinds of lease that have a quota
_QUOTA_STORAGE = const(1)


class Session(Row):
    """Owns what is allocated and begun with it; also a context manager that closes it.

    memory, storage: bytes of its leases at most; operations: so many at once; None: as the board
    allows.
    """

    close = end_entry  # stops its operations and ends its leases, the newest first

    def __init__(self, table, name, memory, storage, operations, ttl_ms):
        self.table = table
        self.row = self.id = self.began_s = 0
        self.name = name
        self.memory = memory
        self.storage = storage
        self.operations = operations
        self.ttl_ms = ttl_ms

    def is_open(self):
        """Return True until it is closed."""
        return self.table.rows[self.row] is self

    def renew(self):
        """Start its ttl_ms anew, if it is open."""
        with self.table.lock:
            if self.is_open():
                self.table.end_in(self.row, self.ttl_ms)

    def use(self, amount):
        """Start its ttl_ms anew; raise Denied if it is closed: what it then owned would never end.

        For this and the next two the caller has the lock of all that is granted.
        """
        if not self.is_open():
            self.table.policy.events.add("denied", self.id, "session", amount)
            raise deny("session")
        self.table.end_in(self.row, self.ttl_ms)

    def admit(self, kind, amount):
        """Raise Denied, naming the quota, if `amount` more of a resource exceeds it."""
        self.use(amount)
        quota = None
        if kind <= _QUOTA_STORAGE:
            quota = self.storage if kind else self.memory
        if quota is None:
            return
        policy = self.table.policy
        for lease in policy.leases.rows:
            if lease is not None and lease.session is self and lease.kind == kind:
                quota -= lease.amount
        if kind == _QUOTA_MEMORY:  # what its waiting operations need has been promised to them
            for op in policy.operations.rows:
                if op is not None and op.session is self and op.lease is None:
                    quota -= op.memory or 0
        if amount > quota:
            reason = "quota:storage" if kind else "quota:memory"
            raise policy.leases.refuse(reason, max(0, quota), amount, None, self)

    def admit_operation(self, memory):
        """Raise Denied, naming the quota, if one more operation exceeds it, or its memory does."""
        self.use(None)
        left = self.operations
        if left is not None:
            operations = self.table.policy.operations
            for op in operations.rows:
                if op is not None and op.session is self:
                    left -= 1
            if left <= 0:
                raise operations.refuse("quota:operations", 0, 1, None, self)
        if memory:
            self.admit(_QUOTA_MEMORY, memory)


class Sessions(Rows):
    """The table of sessions; closes those whose time is over."""

    def open(self, name, memory=None, storage=None, operations=None, ttl_ms=None):
        """Return a new session; Denied("table") when there are eight, or Denied("memory").

        memory, storage: bytes of leases at most; operations: so many at once; None: as the board
        allows. ttl_ms: it ends when it was not used for so long; None: never by itself. What is
        None is what `policy.quotas` has for that name.
        """
        try:
            name = check_text(cut(name, _MAX_NAME))
            given = [memory, storage, operations, ttl_ms]
            own = self.policy.quotas.get(name)
            for place in range(4):
                if given[place] is None and own is not None:
                    given[place] = own[place]
                if given[place] is not None:
                    check_int("a quota", given[place], 1, _MAX_QUOTA)
            session = Session(self, name, *given)
            self.clock.advance()
            with self.lock:
                if None in self.rows:
                    self.add(session, session.ttl_ms)
                    return session
                raise self.refuse("table")
        except MemoryError:
            raise self.policy.events.deny("memory")

    def end(self, session, expired=False):
        """Close a session, and end all it owns."""
        operations = self.policy.operations
        leases = self.policy.leases
        self.clock.advance()
        with self.lock:
            if expired and not self.is_over(session.row):
                return
            if not self.remove(session):
                return
        # One after the other, with nothing that would need memory: there may be none.
        op = operations.newest_of(session)
        while op is not None:
            operations.preempt(op)  # check() goes on to say so
            operations.end(op, False)  # none of its own gets the place of another
            op = operations.newest_of(session)
        lease = leases.newest_of(session)
        while lease is not None:
            leases.end(lease)
            lease = leases.newest_of(session)
        if not expired:
            operations.promote_waiters()
        self.policy.events.post("session", session.id, "closed")

    def run_due(self):
        """Close sessions that are past their deadline; allocates nothing if none is."""
        ended = False
        for session in self.rows:
            if session is not None and self.is_over(session.row):
                self.end(session, True)
                ended = True
        if ended:  # now: those that are over at once give each other nothing
            self.policy.operations.promote_waiters()

    def on_host(self, host_id, how):
        """Note that a host is "found", "seen" (renews its session), "lost", or "gone" for good."""
        session = self.hosts.get(host_id)
        if how == "seen":
            if session is not None:
                session.renew()
            return
        if how == "gone" and session is not None:
            session.close()
        self.policy.events.post("link", None, how)
