# targets: unix frozen qemu
"""Locks: whether one is held is known, also where there are no threads."""

import sys

from figures import figure
from harness import no_heap, raises
from virtual_board import Rig
from warden.sensors.lock import Lock
from warden.sensors.threads import import_lock, locks, new_lock
from warden.setup import count_threads


def _kinds():
    """Return a lock of the port, and one of a port without threads."""
    return (new_lock(), Lock())


def test_a_lock_is_taken_and_given_back():
    for lock in _kinds():
        with no_heap():
            assert not lock.locked()
            with lock:
                assert lock.locked()
                assert not lock.acquire(0)
            assert not lock.locked()
            assert lock.acquire(0)
            lock.release()
            assert lock.acquire()
            lock.release()
            assert not lock.locked()


def test_a_lock_is_released_whatever_is_raised():
    def fail():
        with lock:
            raise KeyboardInterrupt

    for lock in _kinds():
        raises(KeyboardInterrupt, fail)
        assert not lock.locked()


def test_waiting_inside_an_interrupts_callback_is_an_error_where_it_would_never_end():
    lock = Lock()

    def take():
        with lock:
            pass

    with lock:
        raises(RuntimeError, take)
        assert lock.locked()
    take()


def test_a_callback_inside_what_holds_the_lock_of_decisions_does_not_wait_for_ever():
    """A soft callback of a Timer or a Pin runs between two bytecodes of its thread."""
    rig = Rig()
    held = rig.begin("held")
    lease = rig.allocate(0, 100)
    with rig.policy.lock:  # as if it had come here
        raises(RuntimeError, rig.begin, "late")
        raises(RuntimeError, rig.allocate, 0, 100)
        raises(RuntimeError, held.complete)
        raises(RuntimeError, lease.release)
    assert held.complete() and lease.release()
    assert rig.policy.operations.places == 0
    rig.begin("after").complete()


def test_a_callback_inside_a_late_import_does_not_wait_for_ever():
    def load():
        with import_lock:
            raise AssertionError

    with import_lock:
        raises(RuntimeError, load)
    with import_lock:
        pass


class _Interrupting:
    """Stands in for the name of a module; Ctrl-C comes as it is looked up."""

    comes = False

    def __hash__(self):
        if self.comes:
            raise KeyboardInterrupt
        return 1


def test_ctrl_c_at_the_end_of_a_late_import_leaves_no_lock():
    def load():
        with import_lock:
            pass

    came = 0
    # MicroPython keeps in mind, by a key's address, at which place of a table it found one last,
    # and asks for no hash where that is right by chance: of several names it is not.
    names = [_Interrupting() for _ in range(8)]
    for name in names:
        elsewhere = {number: None for number in range(1, 100)}
        sys.modules[name] = sys
        elsewhere[name] = None
        try:
            name.comes = True
            load()
        except KeyboardInterrupt:
            came += 1
        finally:
            name.comes = False
            del sys.modules[name]
        assert not locks[0].locked()
    assert came
    load()


def test_it_is_known_whether_any_is_held():
    threads = count_threads()
    first, second = new_lock(), new_lock()
    with no_heap():
        assert not threads.locked()
        with first:
            assert threads.locked()
            with second:
                assert threads.locked()
            assert threads.locked()
        assert not threads.locked()


def test_the_locks_of_an_agent_that_was_stopped_are_forgotten():
    lock = new_lock()
    lock.acquire()
    assert not count_threads().locked()


def test_a_gate_that_was_left_shut_is_opened_after_five_seconds():
    """As by Ctrl-C on the stock unix port, which raises it in the midst of C code, too."""
    rig = Rig(interval_ms=1000)
    agent = rig.agent
    rig.board.ticks.pass_ms(1000)
    agent.poll()
    agent.gate.acquire(0)
    sampled = figure(agent.sample, "uptime_s")
    for _ in range(19):
        rig.board.ticks.pass_ms(250)
        agent.poll()
    assert figure(agent.sample, "uptime_s") == sampled
    for _ in range(4):
        rig.board.ticks.pass_ms(250)
        agent.poll()
    assert figure(agent.sample, "uptime_s") > sampled
    assert agent.faults == 0


def test_a_gate_in_which_a_thread_takes_long_stays_shut():
    rig = Rig(interval_ms=1000)
    agent = rig.agent
    gate = agent.gate
    found = []

    def work():
        for _ in range(40):  # as another thread that polls meanwhile
            rig.board.ticks.pass_ms(250)
            agent.poll()
        found.append(gate.acquire(0))

    gate.function = work
    gate.enter()
    assert found == [False]
    assert gate.acquire(0)


def test_a_gate_that_two_threads_release_is_released_once():
    gate = Rig(interval_ms=1000).agent.gate
    released = []

    def release():
        released.append(gate.release())  # as another thread that comes just then

    gate.acquire(0)
    gate.releases = (bool, release)
    assert not gate.release()
    assert gate.release()
    assert released == [False]


def test_a_gate_that_was_found_shut_between_two_calls_stays_shut():
    rig = Rig(interval_ms=1000)
    gate = rig.agent.gate
    gate.acquire(0)  # as another thread that is about to run the function
    gate.release()
    assert not gate.acquire(0)
    gate.releases[1]()
    gate.function = bool
    gate.enter()
    gate.acquire(0)
    gate.release()
    assert not gate.acquire(0)
    gate.release()
    assert gate.acquire(0)


def test_a_gate_that_its_thread_has_left_meanwhile_can_be_released():
    gate = Rig(interval_ms=1000).agent.gate
    gate.again = True  # found shut before
    assert gate.release()
    gate.function = bool
    assert gate.enter()
