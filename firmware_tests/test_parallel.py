# targets: unix frozen
"""No GIL is assumed (invariant 12): the unix port's threads run truly in parallel."""

import _thread
import time

from rig import FakeLine, board, framed
from warden.agent import Agent
from warden.errors import Denied
from warden.report import status
from warden_schema import codec, frame

_THREADS = 4
_SECONDS = 3


class Recorder(FakeLine):
    """A line that keeps all it was given, and hears a keepalive now and then."""

    def write(self, buf, start, end):
        self.outbox.extend(buf[start:end])
        return end - start


def test_threads_that_all_run_the_agent_do_not_disturb_each_other():
    line = Recorder()
    agent = Agent(board(), 20, line, budget_permille=1000)
    line.inbox.extend(framed((64, 1, 0, 77)))
    done = [0] * _THREADS
    failed = []
    deadline = time.ticks_add(time.ticks_ms(), _SECONDS * 1000)

    def work(index):
        try:
            while time.ticks_diff(deadline, time.ticks_ms()) > 0:
                agent.step(True)
                status(agent)
                done[index] += 1
        except Exception as error:
            failed.append(error)
        done[index] = -done[index]

    for index in range(_THREADS):
        _thread.start_new_thread(work, (index,))
    while not all(count < 0 for count in done):
        assert time.ticks_diff(time.ticks_ms(), deadline) < 10_000, done
        time.sleep_ms(5)
    assert not failed, failed
    assert agent.faults == 0
    seqs = _sequence_numbers(line.outbox)
    assert len(seqs) > 50
    assert seqs == list(range(len(seqs)))


def _sequence_numbers(data):
    """Return the numbers of the frames; every byte must belong to a good one."""
    reader = frame.Reader(300)
    seqs = []
    for byte in data:
        length = reader.feed(byte)
        assert length != frame.TEXT
        if length > 0:
            seqs.append(codec.decode(reader.payload, length)[1])
    assert reader.bad == 0
    return seqs


def test_threads_that_begin_and_allocate_stay_within_the_limits_and_leak_nothing():
    agent = Agent(board(), 20, None, (2, 300_000, 100, 5000))
    policy = agent.decide()
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
            op = policy.begin("op", priority=index % 2, memory=1000, wait_ms=(0, 50)[index % 2])
            policy.wait(op)
        except Denied:
            denied[index] += 1
            return
        count(1)
        try:
            policy.allocate(0, 100 + index).release()
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
    assert policy.operations.all() == policy.ledger.active() == []
    assert policy.ledger.outstanding(0) == 0
