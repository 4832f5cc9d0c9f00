# targets: unix frozen
"""No GIL is assumed (invariant 12): the unix port's threads run truly in parallel."""

import _thread
import time

from rig import FakeLine, board, framed
from warden.agent import Agent
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
    agent = Agent(board(), 20, line)
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
