"""An operation as the application has it: it begins, reports its progress, and ends."""

from micropython import const

from warden.errors import Preempted, TimedOut, deny
from warden.policy.deadlines import Row, end_entry
from warden.sensors.threads import get_ident
from warden_schema.codec import cut

_MAX_NAME = const(24)  # bytes of UTF-8; longer ones are cut
_WAIT_POLL_MS = const(5)  # between two polls of one that waits
_ACTIVE = const(1)  # states, as `operations` has them
_NEW = const(6)
_PREEMPTED = const("preempted")  # why one must stop


def current_task(load):
    """Return the task of asyncio that calls, None for a thread or plain code."""
    if load.core is not None and load.thread == get_ident():
        return load.core.cur_task
    return None


class Operation(Row):
    """A piece of work that has, or waits for, one of the places; a context manager, async too."""

    timeout_ms = None  # the board's
    memory = None  # bytes that it needs
    lease = None  # of the memory
    wait_ms = 0  # for a place
    learns = 0  # 1: `memory` is what others of that name needed, 2: that is not known yet
    complete = end_entry

    def __init__(self, table, name):
        self.table = table
        self.name = name
        self.row = self.id = self.began_s = 0
        self.state = _NEW
        self.why = None  # PREEMPTED or TIMED_OUT, once it must stop
        self.permille = 0  # how far it is,
        self.text = ""  # and in words

    def check(self):
        """Raise Preempted or TimedOut if this operation must stop; call it now and then."""
        if self.why is not None:
            raise (Preempted if self.why == _PREEMPTED else TimedOut)(self.name)

    def progress(self, permille, text=""):
        """Report how far it is, in permille, with a short text."""
        self.text = cut(text, _MAX_NAME)
        self.permille = int(min(1000, max(0, permille)))  # a float could not be sent
        if self.table.rows[self.row] is self:
            self.table.mark_dirty(self.row)

    def __enter__(self):
        """Begin it, unless it has begun, and block until it has its place.

        Inside a task of asyncio nothing may wait so: Denied, unless the place is there.
        """
        table = self.table
        if self.state != _ACTIVE:
            table.begin(self, current_task(table.policy.agent.load))
            try:
                while self.state != _ACTIVE and not table.poll_admission(self):
                    if self.task is not None:
                        raise deny("operations", None, _WAIT_POLL_MS)
                    table.policy.agent.poll()
                    table.policy.agent.board.sleep_ms(_WAIT_POLL_MS)
            except BaseException:
                table.end(self)
                raise
        return self

    async def __aenter__(self):
        from asyncio import sleep_ms

        table = self.table
        if self.state != _ACTIVE:
            table.begin(self, current_task(table.policy.agent.load))
            try:
                while not table.poll_admission(self):
                    await sleep_ms(_WAIT_POLL_MS)
            except BaseException:  # its task may be cancelled while it waits
                table.end(self)
                raise
        return self

    def __exit__(self, kind, error, trace):
        self.table.end(self)
        if self.learns and kind is MemoryError:
            self.table.policy.profile.failed(self)
        return False

    async def __aexit__(self, kind, error, trace):
        return self.__exit__(kind, error, trace)
