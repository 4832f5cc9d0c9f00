# targets: unix frozen cpython
"""A megabyte of noise and ten thousand mutated frames into the board's decoder.

Nothing is raised, memory stays bounded, and the next good frame is understood.
"""

import gc
from array import array

from rig import FakeLine, FakeTicks, framed
from warden.clock import Clock
from warden.host_session import Session
from warden.sample_table import Sample
from warden.tables import Hello
from warden.uplink import Uplink


class Noise:
    """A linear congruential generator (Numerical Recipes' constants): the same on every board."""

    def __init__(self, seed):
        self._state = seed

    def byte(self):
        self._state = (self._state * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
        return self._state >> 24

    def below(self, limit):
        return (self.byte() << 8 | self.byte()) % limit


def _ignore(host_id, what):
    """A host was heard, or is gone."""


class Board:
    """A session over a line in memory that takes whatever it is told."""

    def __init__(self):
        ticks = FakeTicks()
        clock = Clock(ticks.ticks_ms, ticks.ticks_diff)
        self.line = FakeLine()
        self.calls = 0
        tables = (Hello(1, ("fake", "1", "fake", b"", None, "0"), bytearray(1)),)
        handlers = {0: self._count}
        self.session = Session(
            self.line,
            Uplink(self.line),
            clock,
            Sample(array("i", [1] * 24)),
            tables,
            handlers.get,
            _ignore,
        )

    def _count(self):
        self.calls += 1

    def take(self, data):
        self.line.inbox = data
        while self.line.inbox:
            self.session.receive()
        self.session.pump()
        self.line.outbox = bytearray()

    def understands(self):
        """Tell whether a good subscription and request are still answered."""
        self.line.hear(64, 1, 0, 4242)
        self.line.hear(67, 4242, 0, 0, [])
        self.session.receive()
        self.session.pump()
        kinds = [message[0] for message in self.line.told()]
        return kinds[-2:] in ([7, 5], [5, 7]) or kinds == [1, 7, 5]


def _used():
    gc.collect()
    return gc.mem_alloc()


def test_a_megabyte_of_noise():
    noise = Noise(1)
    board = Board()
    for _ in range(1024):
        board.take(bytearray([noise.byte() for _ in range(1024)]))
    assert board.session.bad > 100
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
