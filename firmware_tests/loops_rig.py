"""What the tests of the loops share: the two kinds, chance, and fenced buffers."""

from array import array

from harness import skip

try:
    from warden_schema import plain
except ImportError:  # it is not frozen beside `fast`: the tests' own link to it
    import plain

try:
    from warden_schema import fast
except (ImportError, ValueError, SyntaxError, NameError):  # NameError: CPython
    fast = None

MARGIN = 16
# What the loops treat apart, three times as often as chance would have it.
SPECIAL = b"\xc0\xc0\xc0\x7d\x7d\x00\x01\x05\x06\x0a\x0d\x1a\x1f\x20\x91\x9f\x90\xa0\x5d\xe0\xff"
UNKNOWN = -0x40000000
# All that a word may hold, where something else is done with it.
WORDS = (
    (UNKNOWN, 0, 1, 5, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF, 0x100, 0x101, 0xFFFE, 0xFFFF, 0x10000)
    + (0x10001, 0xFFFFFF, 0x1000000, 0x3FFFFFFE, 0x3FFFFFFF, -1, -5, -0x1F, -0x20, -0x21, -0x7F)
    + (-0x80, -0x81, -0x7FFF, -0x8000, -0x8001, -0x10000, -0x3FFFFFFE, -0x3FFFFFFF)
)


class Beginning:
    """What `renew` reads of an agent."""

    def __init__(self, values, s, ms, busy, sent, threads, network):
        self.values = values
        self.resting = array("i", [0] * 8 + [busy, 0])
        self.clock = self.uplink = self
        self.s = s
        self.ms = ms
        self.sent = sent
        if sent < 0:
            self.uplink = None
        self.thread_words = threads
        self.network_words = network


def word(chance):
    """Return a word, mostly a small one."""
    if chance.below(3):
        return chance.below(1000)
    return WORDS[chance.below(len(WORDS))]


class Chance:
    """The same numbers on every board (a linear congruence; QEMU's firmware has no `random`)."""

    def __init__(self, seed):
        self._state = seed

    def below(self, limit):
        self._state = (self._state * 75 + 74) % 65537
        return self._state % limit

    def bytes(self, count):
        data = bytearray(count)
        for at in range(count):
            special = self.below(2)
            data[at] = SPECIAL[self.below(len(SPECIAL))] if special else self.below(256)
        return data


class Fenced:
    """A buffer of `count` bytes between two margins."""

    def __init__(self, count, fill=0xAA):
        self.whole = bytearray(b"\xaa" * (count + 2 * MARGIN))
        self.buffer = memoryview(self.whole)[MARGIN : MARGIN + count]
        self.fill(fill)

    def fill(self, byte):
        for at in range(len(self.buffer)):
            self.buffer[at] = byte

    def untouched(self):
        margin = b"\xaa" * MARGIN
        return self.whole[:MARGIN] == margin and self.whole[-MARGIN:] == margin


def both():
    """Return the two, the quick one first; skip where there is only one."""
    if fast is None:
        skip("this interpreter runs no machine code")
    return fast, plain
