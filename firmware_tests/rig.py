"""What surrounds a part under test: a line in memory, and ticks set by hand.

Both are named for what they stand in for; what they do is what the real ones document.
"""

import sys

from warden_schema import codec, frame

WRAP = 1 << 30  # ticks_ms and ticks_us on a 32-bit board


class FakeTicks:
    """Stands in for `time.ticks_ms`, `ticks_us` and `ticks_diff` of a 32-bit board."""

    def __init__(self, now=0):
        self.now = now % WRAP

    def pass_ms(self, ms):
        self.now = (self.now + ms) % WRAP

    def ticks_ms(self):
        return self.now

    def ticks_us(self):
        return self.now * 1000 % WRAP

    def ticks_diff(self, end, start):
        return ((end - start + WRAP // 2) & (WRAP - 1)) - WRAP // 2


def turn(agent):
    """Have an agent listen, and tell all that it has to tell: a few frames at a time."""
    agent.step(True)
    for _ in range(40):
        if agent.session is None or b"\x01" not in agent.clock.news:
            break
        agent.step(True)


def in_next_sample(agent, function):
    """Have function() called in the midst of the next sample."""

    class Network:
        connected = wlan = None
        words = agent.network.words

        def read(self):
            agent.network = network
            function()

    network = agent.network
    agent.network = Network()
    agent.sampler._network_s = agent.values[44] = 0


class FakeLine:
    """Stands in for a link: what the host says goes in, what it is told comes out.

    `room` is how many bytes it takes from now on; None is as many as there are.
    """

    waitable = None

    def __init__(self, window=0):
        self.window = window
        self.room = None
        self.inbox = bytearray()
        self.outbox = bytearray()

    def read(self, buf):
        count = min(len(buf), len(self.inbox))
        for i in range(count):
            buf[i] = self.inbox[i]
        if count:
            self.inbox = self.inbox[count:]
        return count

    def write(self, buf, start, end):
        if self.room is not None:
            end = min(end, start + self.room)
            self.room -= end - start
        self.outbox.extend(buf[start:end])
        return end - start

    def close(self):
        self.room = 0

    def hear(self, *message):
        """Have the host say this."""
        self.inbox.extend(framed(message))

    def told(self):
        """Return the whole messages that came out since the last call."""
        reader = frame.Reader(300)
        messages = []
        for byte in self.outbox:
            length = reader.feed(byte)
            if length > 0:
                messages.append(codec.decode(reader.payload, length))
        self.outbox = bytearray()
        return messages


class SilentLine:
    """Stands in for a link that takes everything and allocates nothing doing so."""

    window = 0
    waitable = None

    def __init__(self):
        self.taken = 0
        self._inbox = bytearray(64)
        self._waiting = self._taken_in = 0

    def hear(self, *message):
        self.say(framed(message))

    def say(self, data):
        """Have these bytes, 64 at most, come from the host."""
        self._inbox[: len(data)] = data
        self._waiting = len(data)
        self._taken_in = 0

    def read(self, buf):
        count = min(len(buf), self._waiting - self._taken_in)
        for i in range(count):
            buf[i] = self._inbox[self._taken_in + i]
        self._taken_in += count
        return count

    def write(self, buf, start, end):
        self.taken += end - start
        return end - start

    def close(self):
        self.taken = 0


class FakeBoard:
    """Stands in for a board where there is none: CPython. Real time, made-up memory."""

    policy_path = "warden.policy"

    def __init__(self):
        import time

        self._now = time.monotonic_ns

    def ticks_ms(self):
        return self._now() // 1_000_000 % WRAP

    def ticks_us(self):
        return self._now() // 1000 % WRAP

    def ticks_diff(self, end, start):
        return ((end - start + WRAP // 2) & (WRAP - 1)) - WRAP // 2

    def sleep_ms(self, ms):
        import time

        time.sleep(ms / 1000)

    def identity(self):
        return "fake", "fake", "fake", b"", None

    def random_30(self):
        return 1234

    def heap_grows(self):
        return False

    def mem_free(self):
        return 150_000

    def mem_alloc(self):
        return 50_000

    def native_heap(self):
        return None

    def collect(self):
        return True

    def mounts(self):
        return ("/",)

    def statvfs(self, mount):
        return (4096, 4096, 100, 60, 50, 0, 0, 0, 0, 255)

    def can_reset(self):
        return False

    def leave_note(self, text):
        raise OSError(19)

    def take_note(self):
        return None


class PressedBoard(FakeBoard):
    """A fake board with a heap as the test says, a clock set by hand, and a reset that is counted.

    `live` and `garbage` are bytes of a heap of `total`.
    """

    def __init__(self, total=200_000, live=50_000):
        self.ticks = FakeTicks()
        self.ticks_ms = self.ticks.ticks_ms
        self.ticks_us = self.ticks.ticks_us
        self.ticks_diff = self.ticks.ticks_diff
        self.sleep_ms = self.ticks.pass_ms
        self.total = total
        self.live = live
        self.garbage = 0
        self.collections = 0
        self.collects = True
        self.resets = 0
        self.note = None

    def mem_free(self):
        return self.total - self.live - self.garbage

    def mem_alloc(self):
        return self.live + self.garbage

    def collect(self):
        if self.collects:
            self.garbage = 0
            self.collections += 1
        return self.collects

    def can_reset(self):
        return True

    def reset(self):
        self.resets += 1

    def leave_note(self, text):
        self.note = text

    def take_note(self):
        note, self.note = self.note, None
        return note


def board():
    """Return this board's adapter; on CPython, which is none, a fake one."""
    if sys.implementation.name != "micropython":
        return FakeBoard()
    from warden import hal

    return hal.detect()


def framed(message):
    """Return the frame of a message (a list or tuple)."""
    payload = bytearray(300)
    wire = bytearray(620)
    length = codec.put(payload, 0, list(message))
    return bytes(wire[: frame.encode(payload, length, wire)])


def free_port():
    """Return a port on loopback that nobody listens on; the unix port has no getsockname()."""
    import os
    import socket

    while True:
        port = 20_000 + int.from_bytes(os.urandom(2), "big") % 12_000  # below the ephemeral ones
        probe = socket.socket()
        try:
            probe.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        except OSError:
            continue
        finally:
            probe.close()
        return port
