# targets: unix frozen
"""No GIL is assumed (invariant 12): the unix port's threads run truly in parallel."""

import _thread
import time

import warden
from frames import decode, deframed
from rig import FakeLink, board
from usual import new_lease, new_operation
from warden.errors import Denied
from warden.setup import make_agent

_THREADS = 4
_SECONDS = 3


def test_threads_that_all_run_the_agent_do_not_disturb_each_other():
    link = FakeLink()
    warden.start(interval_ms=20, budget_permille=1000, link=link)
    link.receive(64, 1, 0, 77)
    done = [0] * _THREADS
    failed = []
    deadline = time.ticks_add(time.ticks_ms(), _SECONDS * 1000)

    def work(index):
        try:
            while time.ticks_diff(deadline, time.ticks_ms()) > 0:
                warden.poll()
                assert warden.status()["running"]
                done[index] += 1
        except Exception as error:
            failed.append(error)
        done[index] = -done[index]

    for index in range(_THREADS):
        _thread.start_new_thread(work, (index,))
    while not all(count < 0 for count in done):
        assert time.ticks_diff(time.ticks_ms(), deadline) < 10_000, done
        time.sleep_ms(5)
    faults = warden.status()["faults"]
    warden.stop()
    assert not failed, failed
    assert faults == 0
    seqs = _sequence_numbers(link.outbox)
    assert len(seqs) > 50
    assert seqs == list(range(len(seqs)))


def _sequence_numbers(data):
    """Return the numbers of the frames; every byte must belong to a good one."""
    payloads, text, bad = deframed(data)
    assert (text, bad) == (b"", 0)
    return [decode(payload)[1] for payload in payloads]


def test_threads_that_begin_and_allocate_stay_within_the_limits_and_leak_nothing():
    agent = make_agent(board(), 20, 10, None, (2, 300_000, 100, 5000))
    policy = agent.policy
    lock = _thread.allocate_lock()
    now = [0, 0]  # that are in their place, and the most there ever were
    done = [0] * _THREADS
    denied = [0] * _THREADS
    failed = []
    deadline = time.ticks_add(time.ticks_ms(), _SECONDS * 1000)

    def count(step):
        with lock:
            now[0] += step
            now[1] = max(now)

    def turn(index):
        try:
            wait_ms = (0, 50)[index % 2]
            op = new_operation(policy.operations, "op", index % 2, None, 1000, wait_ms).__enter__()
        except Denied:
            denied[index] += 1
            return
        count(1)
        try:
            new_lease(policy.leases, 0, 100 + index).release()
        except Denied as error:  # the heap is full of garbage, and was collected just now
            assert error.reason == "memory" and error.retry_after_ms is not None
        count(-1)
        op.complete()
        done[index] += 1

    def work(index):
        try:
            while time.ticks_diff(deadline, time.ticks_ms()) > 0:
                turn(index)
        except Exception as error:
            failed.append(error)
        with lock:
            ended.append(index)

    ended = []
    for index in range(_THREADS):
        _thread.start_new_thread(work, (index,))
    while len(ended) < _THREADS:
        assert time.ticks_diff(time.ticks_ms(), deadline) < 20_000, "a deadlock"
        time.sleep_ms(5)
    assert not failed, failed
    assert now[0] == 0
    assert 1 <= now[1] <= 2, now
    assert sum(done) > 100 and sum(denied) > 0, (done, denied)
    assert policy.operations.all() == policy.leases.all() == []
    assert policy.leases.outstanding(0) == 0
