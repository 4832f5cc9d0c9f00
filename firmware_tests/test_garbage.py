# targets: unix frozen cpython
"""A megabyte of noise and ten thousand mutated frames into the board's decoder.

Nothing is raised, memory stays bounded, and the next good frame is understood.
"""

import gc

from figures import figure
from frames import framed
from rig import poll_all, poll_now
from virtual_board import Rig


class Noise:
    """A linear congruential generator (Numerical Recipes' constants): the same on every board."""

    def __init__(self, seed):
        self._state = seed

    def byte(self):
        self._state = (self._state * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
        return self._state >> 24

    def below(self, limit):
        return (self.byte() << 8 | self.byte()) % limit


class Board:
    """A whole agent with a link in memory that takes whatever it is sent."""

    def __init__(self):
        rig = Rig()
        self.agent = rig.agent
        self.link = rig.link

    def take(self, data):
        """Have the host send these bytes, and the board act on them."""
        self.link.inbox = data
        while self.link.inbox:
            poll_now(self.agent)
        assert self.agent.faults == 0
        self.link.outbox = bytearray()

    def understands(self):
        """Tell whether a good subscription and request are still answered."""
        self.link.receive(64, 1, 0, 4242)
        self.link.receive(67, 4242, 0, 0, [])
        poll_all(self.agent)
        assert self.agent.faults == 0
        kinds = [message[0] for message in self.link.sent()]
        return 1 in kinds and 5 in kinds and 7 in kinds


def _used():
    gc.collect()
    return gc.mem_alloc()


def test_a_megabyte_of_noise():
    noise = Noise(1)
    board = Board()
    for _ in range(1024):
        board.take(bytearray([noise.byte() for _ in range(1024)]))
    assert figure(board.agent.sample, "bad_frames") > 100
    assert board.understands()


def test_ten_thousand_mutated_frames():
    noise = Noise(2)
    board = Board()
    good = (
        framed([64, 1, 0, 99]),
        framed([66, 99, 12]),
        framed([67, 99, 3, 0, []]),
        framed([67, 99, 4, 0, [1, "two", b"three", [None]]]),
        framed([65, 99]),
    )
    for _ in range(10_000):
        data = bytearray(good[noise.below(len(good))])
        for _ in range(1 + noise.below(3)):
            how = noise.below(3)
            at = noise.below(len(data))
            if how == 0:
                data[at] = noise.byte()
            elif how == 1:
                data = data[:at] + data[at + 1 :] or bytearray(1)
            else:
                data = data[:at] + bytes([noise.byte()]) + data[at:]
        board.take(data)
    assert board.understands()


def test_memory_stays_bounded_on_micropython():
    noise = Noise(3)
    board = Board()
    chunk = bytearray(512)
    board.take(bytearray(512))
    before = _used()
    for _ in range(100):
        for i in range(len(chunk)):
            chunk[i] = noise.byte()
        board.take(bytearray(chunk))
    assert _used() - before < 512, _used() - before
