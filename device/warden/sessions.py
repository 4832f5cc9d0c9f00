"""Sessions: an owner of leases and operations, with quotas, who may be gone one day."""

from micropython import const

from warden.errors import Denied, Preempted
from warden.timed import FREE, Timed, end_in
from warden_schema import codec
from warden_schema.loops import free_row

_SESSIONS = const(8)
_MAX_NAME = const(24)
_MEMORY = const(0)
_STORAGE = const(1)
_MAX_WORD = const(0x3FFFFFFF)


class Sessions(Timed):
    """The table of sessions; closes those whose time is over. lock: the one of `events`."""

    def __init__(self, clock, lock, events, ledger, operations):
        super().__init__(clock, lock, _SESSIONS)
        self.post = events.post
        self.ledger = ledger
        self.operations = operations
        self.quotas = {}  # name -> (memory, storage, operations, ttl_ms): what it gets by itself

    def open(self, name, memory=None, storage=None, operations=None, ttl_ms=None):
        """Return a new session; Denied("table") when there are eight.

        memory, storage: bytes of leases at most; operations: so many at once; None: as the board
        allows. ttl_ms: it ends when it was not used for so long; None: never by itself. What is
        None is what `quotas` has for that name.
        """
        name = codec.cut(name, _MAX_NAME)
        if name in self.quotas:
            given = (memory, storage, operations, ttl_ms)
            memory, storage, operations, ttl_ms = [
                own if value is None else value for value, own in zip(given, self.quotas[name])
            ]
        for value in (memory, storage, operations, ttl_ms):
            if value is not None and (not isinstance(value, int) or value <= 0):
                raise ValueError("quotas and ttl_ms are positive integers, or None")
        self.clock.advance()
        quotas = (memory, storage, operations)
        self.acquire(1)
        try:
            row = self.free.find(FREE)
            if row >= 0:
                session = Session(self, row, self.next_id, name, quotas, ttl_ms)
                self.next_id += 1
                self.free[row] = 0
                end_in(self, row, ttl_ms)
                self.table[row] = session
                self.changed(row)
                return session
        finally:
            self.release()
        self.post("denied", None, "table")
        raise Denied("table", None, None, tuple([session.id for session in self.all()]))

    def tick(self):
        """Close what is over its time; allocates nothing where nothing is."""
        over = self.over()
        if not over:
            return
        for session in self.table:
            # The next one may be over, too: none of its operations gets a place.
            if over & 1 and session is not None and self.forget(session, True):
                session.end(False)
            over >>= 1
        self.operations.pass_on()

    def renew(self, session):
        """Begin the time of a session anew; return whether it is open."""
        self.clock.advance()
        self.acquire(1)
        try:
            return self._renew(session)
        finally:
            self.release()

    def _renew(self, session):
        if self.table[session.row] is not session:
            return False
        end_in(self, session.row, session.ttl_ms)
        return True

    def forget(self, session, only_over=False):
        """Take a session out of the table, if it is over where so asked; return whether it did."""
        row = session.row
        self.acquire(1)
        try:
            if self.table[row] is not session or (only_over and not self.is_over(row)):
                return False
            free_row(self, row)
            return True
        finally:
            self.release()


def _newest(table, session):
    """Return the newest entry of a table that is the session's, None if there is none."""
    newest = None
    for entry in table:
        if entry is not None and entry.session is session:
            if newest is None or entry.id > newest.id:
                newest = entry
    return newest


class Session:
    """Owns what is allocated and begun with it; also a context manager that closes it."""

    def __init__(self, sessions, row, session_id, name, quotas, ttl_ms):
        self.id = session_id
        self.name = name
        self.quotas = quotas  # (memory, storage, operations)
        self.is_large = max([quota or 0 for quota in quotas]) > _MAX_WORD  # one of these
        self.ttl_ms = ttl_ms
        self.row = row  # in the table, while it is there
        self._sessions = sessions

    def renew(self):
        """Begin its time anew; whatever is done with it does so."""
        self._sessions.renew(self)

    def leases(self):
        """Return its active leases, oldest first."""
        return [lease for lease in self._sessions.ledger.active() if lease.session is self]

    def operations(self):
        """Return its operations, oldest first."""
        return [op for op in self._sessions.operations.all() if op.session is self]

    def is_open(self):
        """Tell whether it is not closed."""
        return self._sessions.table[self.row] is self

    def use(self):
        """Renew it; raise Denied if it is closed: what it owned then, nothing would end."""
        if not self._sessions.renew(self):
            self._refuse("session", None, (), None)

    def admit(self, kind, amount):
        """Raise Denied, naming the quota, if so much more of a resource exceeds it."""
        self.use()
        if kind > _STORAGE or self.quotas[kind] is None:
            return
        mine = [lease for lease in self.leases() if lease.kind == kind]
        left = self.quotas[kind] - sum([lease.amount for lease in mine])
        if kind == _MEMORY:  # what its waiting operations need has been promised to them
            left -= sum([op.memory or 0 for op in self.operations() if op.lease is None])
        if amount > left:
            name = "quota:memory" if kind == _MEMORY else "quota:storage"
            self._refuse(name, max(0, left), mine, amount)

    def admit_operation(self):
        """Raise Denied, naming the quota, if one more operation exceeds it."""
        self.use()
        mine = self.operations()
        if self.quotas[2] is not None and len(mine) >= self.quotas[2]:
            self._refuse("quota:operations", 0, mine, 1)

    def _refuse(self, reason, available, blockers, amount):
        self._sessions.post("denied", self.id, reason, amount)
        raise Denied(reason, available, None, tuple([each.id for each in blockers]))

    def close(self):
        """Stop its operations and end its leases, the newest first; harmless when closed.

        Whatever one of them raises, all are ended, and no place or byte stays taken.
        """
        if self._sessions.forget(self):
            self.end(True)

    def end(self, pass_on):
        """End what it owns, once it is out of the table.

        pass_on: give the places to who waits for one.
        """
        sessions = self._sessions
        operations = sessions.operations
        # One after the other, with nothing that would need memory: there may be none.
        op = _newest(operations.table, self)
        while op is not None:
            operations.stop(op, Preempted)  # check() goes on to say so
            operations.end(op, False)  # none of its own gets the place of another
            op = _newest(operations.table, self)
        lease = _newest(sessions.ledger.table, self)
        while lease is not None:
            lease.release()
            lease = _newest(sessions.ledger.table, self)
        if pass_on:
            operations.pass_on()
        sessions.post("session", self.id, "closed")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()
        return False
