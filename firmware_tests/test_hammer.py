# targets: unix
"""Four threads, no GIL: never more than the limit, nothing leaked, no deadlock.

The unix port's collector does not stop the other threads while it marks (see `mp_thread_gc_others`
in its mpthreadport.c), so an object that moves from one place to another meanwhile may be freed.
That is the interpreter's, not ours: here nothing is collected but while all threads rest.
"""

import _thread
import gc
import os
import time

from rig import board
from usual import new_lease, new_operation
from warden.errors import Denied, Stopped
from warden.setup import make_agent

_THREADS = 4
_LIMIT = 2
_SECONDS = 30 if os.getenv("SOAK") == "1" else 8
_TURNS = 20  # between two rests: what they leave behind fits the heap many times over
_LATE_MS = 20_000  # after the end, or a rest without an end: a deadlock
_MEMORY = 0
_LOW, _NORMAL, _HIGH, _CRITICAL = range(4)


def _slow_board():
    """Return this board with a clock four times as slow.

    An operation that a busy machine makes wait is not overdue, and keeps its place, for 8 s then.
    """
    slow = board()
    slow.ticks_ms = lambda: time.ticks_ms() >> 2
    return slow


class Hammer:
    """What the threads share; `lock` guards its figures."""

    def __init__(self):
        self.agent = make_agent(_slow_board(), 20, 10, None, (_LIMIT, 300_000, 100, 0))
        self.policy = self.agent.policy
        self.lock = _thread.allocate_lock()
        self.in_place = 0
        self.most = 0  # that ever were in their place at once
        self.begun = self.denied = self.stopped = self.sessions = 0
        self.resting = self.ended = 0
        self.failed = []
        self.round = 0
        self.over = False
        self.shared = self.policy.sessions.open("shared")

    def count(self, name, step=1):
        with self.lock:
            setattr(self, name, getattr(self, name) + step)
            self.most = max(self.most, self.in_place)

    # --- a thread -------------------------------------------------------------------------------

    def work(self, index):
        try:
            number = index
            while not self.over:
                for _ in range(_TURNS):
                    number += 1
                    self.turn(number)
                self.rest()
        except Exception as error:
            self.failed.append(error)
        self.count("ended")

    def rest(self):
        """Stand still until the main thread has collected."""
        number = self.round
        self.count("resting")
        while number == self.round:
            time.sleep_ms(1)

    def turn(self, number):
        priority = (_NORMAL, _LOW, _HIGH, _LOW, _CRITICAL)[number % 5]
        try:
            op = new_operation(
                self.policy.operations, "op", priority, None, 100, (0, 50)[number & 1]
            )
            op.__enter__()
        except Denied:
            self.count("denied")
            return
        self.count("in_place")
        try:
            self.lend(number)
            if number % 4 == 0:
                self.in_session()
            self.in_shared_session(number)
            op.check()
        except Stopped:
            self.count("stopped")
        self.count("in_place", -1)
        op.complete()
        op.complete()
        self.count("begun")

    def lend(self, number):
        try:
            lease = new_lease(self.policy.leases, _MEMORY, 100 + number % 50)
            lease.commit()
            lease.release()
        except Denied as error:  # the heap is full of garbage, or the table of leases
            assert error.reason in ("memory", "table"), error.reason

    def in_session(self):
        """Leave a lease and perhaps an operation to the end of their session."""
        lease = op = None
        with self.policy.sessions.open("session", operations=1) as session:
            assert session in self.policy.sessions.all()
            try:
                lease = new_lease(self.policy.leases, _MEMORY, 10, session=session)
                op = new_operation(self.policy.operations, "inner", _LOW, session=session)
                self.policy.operations.begin(op)
            except Denied:
                pass
        assert lease is None or not lease.active
        assert op is None or op not in self.policy.operations.rows
        self.count("sessions")

    def in_shared_session(self, number):
        """Leave a lease without end to a session that another thread may be closing just now."""
        session = self.shared
        if number % 3 == 0:
            opened = self.policy.sessions.open("shared")
            with self.lock:
                session, self.shared = self.shared, opened
            session.close()
        try:
            lease = new_lease(self.policy.leases, _MEMORY, 10, session=session, ttl_ms=None)
            if number & 1:
                lease.release()
        except Denied as error:
            assert error.reason in ("session", "table", "memory"), error.reason

    # --- the main thread ------------------------------------------------------------------------

    def oversee(self):
        """Run the agent, and collect while all rest, until the threads have ended."""
        deadline = time.ticks_add(time.ticks_ms(), _SECONDS * 1000)
        last = time.ticks_ms()
        while self.ended < _THREADS:
            now = time.ticks_ms()
            self.over = time.ticks_diff(now, deadline) >= 0
            self.agent.poll()
            if self.resting + self.ended == _THREADS:
                gc.collect()
                with self.lock:
                    self.resting = 0
                    self.round += 1
                last = now
            assert time.ticks_diff(now, last) < _LATE_MS, "a deadlock"
            time.sleep_ms(1)

    def run(self):
        gc.collect()
        gc.disable()
        try:
            for index in range(_THREADS):
                _thread.start_new_thread(self.work, (index,))
            self.oversee()
        finally:
            gc.enable()


def test_threads_that_begin_allocate_and_open_stay_within_the_limits_and_leak_nothing():
    hammer = Hammer()
    hammer.run()
    hammer.shared.close()
    assert not hammer.failed, hammer.failed
    assert hammer.in_place == 0
    assert 1 <= hammer.most <= _LIMIT, hammer.most
    for figure in (hammer.begun, hammer.denied, hammer.stopped, hammer.sessions):
        assert figure > 10, (hammer.begun, hammer.denied, hammer.stopped, hammer.sessions)
    policy = hammer.policy
    assert policy.operations.all() == policy.leases.all() == policy.sessions.all() == []
    assert policy.leases.outstanding(_MEMORY) == 0
    assert hammer.agent.faults == 0
