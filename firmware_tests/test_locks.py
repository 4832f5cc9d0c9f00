# targets: unix frozen qemu
"""Locks: whether one is held is known, also where there are no threads."""

from harness import no_heap
from warden.threads import Locks, install


def _kinds():
    """Return whether there are threads: both where there are, for no code asks the board then."""
    return (False, True) if install().available else (False,)


def test_it_is_known_whether_one_is_held():
    for available in _kinds():
        locks = Locks(available)
        first, second, third = locks.lock(), locks.lock(), locks.lock()
        with no_heap():
            assert not locks.held()
            first.acquire(1)
            second.acquire(1)
            assert locks.held()
            second.release()
            third.acquire(1)
            assert locks.held()
            third.release()
            first.release()
            assert not locks.held()


def test_a_gate_is_shut_to_the_second_and_none_of_the_locks():
    for available in _kinds():
        locks = Locks(available)
        gate = locks.gate()
        assert gate.acquire(0)
        assert not gate.acquire(0)
        assert not locks.held()
        gate.release()
        assert gate.acquire(0)
