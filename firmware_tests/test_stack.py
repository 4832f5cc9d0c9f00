# targets: qemu
"""The C stack that a public call takes: an rp2 thread has 4 KB, of which its own start takes some.

It is looked at where calls are deepest: where an event is posted, memory is measured, and a lock is
taken.
"""

import sys

import micropython

import warden
from harness import raises
from warden.crashes import Crashes
from warden.policy.events import Events

_STACK_BYTES = 4096
_OF_THE_THREAD = 700  # its start, and the application's own function that calls

_deepest = 0


def _look():
    global _deepest
    _deepest = max(_deepest, micropython.stack_use())


def _depth_of(call):
    """Return the bytes of stack that a call takes at its deepest."""
    global _deepest
    _deepest = 0
    began = micropython.stack_use()
    call()
    return _deepest - began


def test_decisions_fit_the_stack_of_a_thread():
    warden.start(link=False, max_operations=1)
    agent = warden.allocate(warden.MEMORY, 16).table.policy.agent
    policy = agent.policy
    add = Events.add
    free_now = policy.memory.free_now
    decide = sys.modules["warden.decide"]  # frozen, its files are joined into this one
    schedule = decide.schedule

    def added(self, kind, subject=None, detail=None, value=None):
        _look()
        add(self, kind, subject, detail, value)

    def measured():
        _look()
        return free_now()

    def told(clock, s, ms):
        _look()
        schedule(clock, s, ms)

    Events.add = added
    policy.memory.free_now = measured
    decide.schedule = told
    session = warden.session("s", operations=1)
    depths = {}
    ops = []
    depths["begin"] = _depth_of(lambda: ops.append(warden.begin("x", memory=100, session=session)))
    depths["denied"] = _depth_of(lambda: raises(warden.Denied, warden.begin, "y"))
    depths["preempt"] = _depth_of(
        lambda: raises(warden.Denied, warden.begin, "y", priority=warden.CRITICAL, session=session)
    )
    depths["complete"] = _depth_of(lambda: ops.pop().complete())
    depths["allocate"] = _depth_of(lambda: ops.append(warden.allocate(warden.MEMORY, 100)))
    depths["release"] = _depth_of(lambda: ops.pop().release())
    depths["close"] = _depth_of(session.close)
    warden.stop()
    Events.add = add
    decide.schedule = schedule
    print(depths)
    assert min(depths.values()) > 0, depths  # each was looked at
    assert max(depths.values()) + _OF_THE_THREAD < _STACK_BYTES, depths


def test_what_ends_a_thread_is_kept_on_its_stack():
    """With the watchdog, too, which begins and ends operations itself."""
    warden.exceptions()
    warden.start(link=False)
    warden.watchdog(polled=True)
    threads = warden.allocate(warden.MEMORY, 16).table.policy.agent.threads
    write = Crashes.write
    add = Events.add

    def written(self, text):
        _look()
        return write(self, text)

    def added(self, kind, subject=None, detail=None, value=None):
        _look()
        add(self, kind, subject, detail, value)

    Crashes.write = written
    Events.add = added
    try:
        int("x")
    except ValueError as caught:
        error = caught
    ops = []
    depths = {}
    depths["keep"] = _depth_of(lambda: threads.report(error, 1, "worker"))
    depths["begin"] = _depth_of(lambda: ops.append(warden.begin("x", memory=100)))
    depths["complete"] = _depth_of(lambda: ops.pop().complete())
    warden.stop()
    Crashes.write = write
    Events.add = add
    print(depths)
    assert min(depths.values()) > 0, depths
    assert max(depths.values()) + _OF_THE_THREAD < _STACK_BYTES, depths
