"""What surrounds a part under test: a link in memory, ticks set by hand, a board that is made up.

Each is named for what it stands in for; what they do is what the real ones document.
"""

import sys

from frames import decode, deframed, framed

WRAP = 1 << 30  # ticks_ms and ticks_us on a 32-bit board
_MAX_PAYLOAD = 300
_ENOUGH_POLLS = 80  # for all tables, with everything in them


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


def forget_writes():
    """Have nothing been written to flash yet, as when `warden.wear` is loaded."""
    from warden.wear import wear

    wear.written[:] = [0] * len(wear.written)
    wear.left = 100
    wear.deadline_s = 900
    wear.storage = None
    wear.row = 0


def skip_seconds(agent, seconds):
    """Have an agent's clock be later, as if nothing was done for so long."""
    agent.clock.start_ms -= seconds * 1000
    agent.clock.advance()


def poll_now(agent):
    """Have an agent do what is due without the pause it makes between two turns with rows."""
    agent.clock.poll_now = True
    return agent.poll()


def poll_all(agent):
    """Have an agent do all there is to do at this moment: it reads and sends a little each time."""
    for _ in range(_ENOUGH_POLLS):
        poll_now(agent)
        if not _has_more(agent):
            break
        wait_for_share(agent)


def wait_for_share(agent):
    """Wait until hosts may take time again: a slow board, or one that stood still, used it up."""
    wait = agent.governor.host_wait_ms()
    if wait:
        agent.board.sleep_ms(wait)


def poll_for_sample(agent):
    """Poll until the sample that is due is taken: the C module reads a large heap in slices.

    Return whether one was taken. Allocates nothing itself.
    """
    sample = agent.sample
    s = sample.figures[0]  # its uptime, as `figures` has it
    ms = sample.figures[1]  # apart: not every firmware assigns two without a tuple
    for _ in range(_ENOUGH_POLLS):
        poll_now(agent)
        if sample.figures[0] != s or sample.figures[1] != ms:
            return True
    return False


def _has_more(agent):
    if agent.session is None:
        return False
    if agent.link.readable():
        return True
    return bool(agent.session.host_id) and any([any(table.dirty) for table in agent.session.tables])


def in_next_sample(agent, function):
    """Have function() called in the midst of the next sample."""
    network = agent.network

    def read(figures):
        del network.read
        function()
        return False

    network.read = read


class FakeLink:
    """Stands in for a link: what the host sends goes in, what the board sends comes out.

    `room` is how many bytes it takes from now on; None is as many as there are.
    """

    waitable = None

    def __init__(self, window=0):
        self.window = window
        self.room = None
        self.inbox = bytearray()
        self.outbox = bytearray()

    def readable(self):
        return len(self.inbox) > 0

    def read(self, buf):
        count = min(len(buf), len(self.inbox))
        buf[:count] = self.inbox[:count]
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

    def receive(self, *message):
        """Have the host send this message."""
        self.inbox.extend(framed(list(message)))

    def sent(self):
        """Return the whole messages that the board sent since the last call."""
        payloads = deframed(self.outbox, _MAX_PAYLOAD)[0]
        self.outbox = bytearray()
        return [decode(payload) for payload in payloads]


class SinkLink:
    """Stands in for a link that takes everything, and allocates nothing doing so."""

    window = 0
    waitable = None

    def __init__(self):
        self.written = 0  # bytes
        self._inbox = bytearray(64)
        self._length = self._at = 0

    def receive(self, *message):
        """Have the host send this message, of a frame of 64 bytes at most."""
        self.receive_bytes(framed(list(message)))

    def receive_bytes(self, data):
        """Have these bytes, 64 at most, come from the host; allocates nothing."""
        for place in range(len(data)):
            self._inbox[place] = data[place]
        self._length = len(data)
        self._at = 0

    def readable(self):
        return self._at < self._length

    def read(self, buf):
        count = min(len(buf), self._length - self._at)
        for i in range(count):
            buf[i] = self._inbox[self._at + i]
        self._at += count
        return count

    def write(self, buf, start, end):
        self.written += end - start
        return end - start

    def close(self):
        self.written = 0


class FakeBoard:
    """Stands in for a board where there is none: CPython. Real time, made-up memory."""

    path = "warden"
    facts = {}  # for the status
    heap_grows = False
    has_timer = False
    identity = ("fake", "fake", "fake", b"", None, "0")
    boot_id = 1234

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

    def mem_free(self):
        return 150_000

    def mem_alloc(self):
        return 50_000

    def find_heap(self):
        return 13  # not found

    def gc_threshold(self):
        return -1

    def collect(self):
        return True

    def mounts(self):
        return ("/",)

    def statvfs(self, mount):
        return (4096, 4096, 100, 60, 50, 0, 0, 0, 0, 255)

    reset = None  # it cannot
    crashes = None

    def save_note(self, text):
        raise OSError(19)

    def load_note(self):
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

    def reset(self):
        self.resets += 1

    def save_note(self, text):
        self.note = text

    def load_note(self):
        note, self.note = self.note, None
        return note


def board():
    """Return this board's adapter; on CPython, which is none, a fake one."""
    if sys.implementation.name != "micropython":
        return FakeBoard()
    from warden.detect import detect

    return detect()


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
