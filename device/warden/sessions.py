"""Sessions: an owner of leases and operations, with quotas, who may be gone one day."""

from micropython import const

from warden_schema import codec

from .deadline import Deadline
from .errors import Denied, Preempted

_SESSIONS = const(8)
_MAX_NAME = const(24)
_MEMORY = const(0)
_STORAGE = const(1)


def _nobody(row):
    """Stand for who wants to know of changes."""


class Sessions:
    """The table of sessions; closes those whose time is over."""

    def __init__(self, clock, lock, post, ledger, operations):
        self.clock = clock
        self._lock = lock
        self._post = post
        self._ledger = ledger
        self._operations = operations
        self.table = [None] * _SESSIONS
        self.quotas = {}  # name -> (memory, storage, operations, ttl_ms): what it gets by itself
        self.changed = _nobody  # function of a row that changed, None for one that is free now
        self._next_id = 1

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
        self._lock.acquire(1)
        try:
            if None in self.table:
                place = self.table.index(None)
                session = Session(self, self._next_id, name, quotas, ttl_ms)
                self._next_id += 1
                self.table[place] = session
                session.deadline.passed()  # is looked at in time, now that it can be found
                self.changed(place)
                return session
        finally:
            self._lock.release()
        self._post("denied", None, "table")
        raise Denied("table", None, None, tuple([session.id for session in self.all()]))

    def all(self):
        """Return the open sessions, oldest first."""
        return sorted([s for s in self.table if s], key=lambda session: session.id)

    def find(self, session_id):
        """Return the open session of that id; KeyError if there is none."""
        for session in self.table:
            if session is not None and session.id == session_id:
                return session
        raise KeyError(session_id)

    def tick(self):
        """Close what is over its time; allocates nothing where nothing is."""
        freed = False
        place = 0
        while place < _SESSIONS:
            session = self.table[place]
            if session is not None and session.deadline.passed():
                session.close(False)  # the next one may be over, too: none of its gets a place
                freed = True
            place += 1
        if freed:
            self._operations.pass_on()

    def forget(self, session):
        """Take a session out of the table; return whether it was there."""
        self._lock.acquire(1)
        try:
            if session not in self.table:
                return False
            self.table[self.table.index(session)] = None
        finally:
            self._lock.release()
        self.changed(None)
        return True


class Session:
    """Owns what is allocated and begun with it; also a context manager that closes it."""

    def __init__(self, sessions, session_id, name, quotas, ttl_ms):
        self.id = session_id
        self.name = name
        self.quotas = quotas  # (memory, storage, operations)
        self.ttl_ms = ttl_ms
        self.deadline = Deadline(sessions.clock, ttl_ms)
        self._sessions = sessions

    def renew(self):
        """Begin its time anew; whatever is done with it does so."""
        self._sessions.clock.advance()
        self.deadline.set(self.ttl_ms)

    def leases(self):
        """Return its active leases, oldest first."""
        return [lease for lease in self._sessions._ledger.active() if lease.session is self]

    def operations(self):
        """Return its operations, oldest first."""
        return [op for op in self._sessions._operations.all() if op.session is self]

    def use(self):
        """Renew it; raise Denied if it is closed: what it owned then, nothing would end."""
        if self not in self._sessions.table:
            self._refuse("session", None, (), None)
        self.renew()

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
        self._sessions._post("denied", self.id, reason, amount)
        raise Denied(reason, available, None, tuple([each.id for each in blockers]))

    def close(self, pass_on=True):
        """Stop its operations and end its leases, the newest first; harmless when closed.

        Whatever one of them raises, all are ended, and no place or byte stays taken. pass_on: give
        the places to who waits for one.
        """
        sessions = self._sessions
        if not sessions.forget(self):
            return
        operations = sessions._operations
        for op in reversed(self.operations()):
            operations.stop(op, Preempted)  # check() goes on to say so
            operations.end(op, False)  # none of its own gets the place of another
        for lease in reversed(self.leases()):
            lease.release()
        if pass_on:
            operations.pass_on()
        sessions._post("session", self.id, "closed")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()
        return False
