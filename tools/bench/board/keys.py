"""What keys take: a handshake, and a request over a connection of `TcpServer` with and without.

Prints `= NAME TICKS BYTES`: of the handshake all that is allocated meanwhile, nothing collected,
and as its peak the most that is in use at once, beyond what was before it.
"""

import gc

from meter import EMPTY, tell, ticks_of

import warden
import warden.keys
from warden.host_session import encode
from warden.hosts import Hosts
from warden.keyed_hosts import KeyedHosts
from warden.keys import Keys, hmac, mac
from warden.setup import detect, make_agent

_KEY = bytes(range(128, 160))
_HOST = 77
_LIMITS = (2, 300_000, 100, 5000)


class Line:
    """A connection: says what the program puts there, and takes everything."""

    connection = True
    address = "10.0.0.1"
    right = 2

    def __init__(self):
        self.inbox = b""

    def readable(self):
        return len(self.inbox) > 0

    def read(self, buf):
        count = len(self.inbox)
        buf[:count] = self.inbox
        self.inbox = b""
        return count

    def write(self, buf, start, end):
        return end - start

    def keep_place(self):
        pass

    def is_fresh(self):
        return True


class Server:
    """A port at which one connection comes."""

    window = 0
    waitable = None

    def __init__(self, session):
        self.session = session
        self.callers = [Line()]
        if session is KeyedHosts:
            self.keys = Keys(_KEY, _KEY, False)
            self.keys.boot_number = 1

    def readable(self):
        return len(self.callers) > 0 or line.readable()

    def has_caller(self):
        return len(self.callers) > 0

    def accept(self):
        return self.callers.pop() if self.callers else None

    def close(self):
        pass


def packed(*message):
    buf = bytearray(300)
    return bytes(buf[: warden.put(buf, 0, list(message))])


def framed(payload):
    """Return a payload as a frame: 64 bytes at most, which are read at once."""
    buf = bytearray(160)
    return bytes(buf[: encode(bytearray(payload) + bytearray(2), len(payload), buf)])


def poll():
    agent.clock.poll_now = True
    agent.poll()


def say(payload):
    """Have the board hear a payload; return the ticks and bytes that its poll took."""
    for _ in range(40):  # what is owed so far
        poll()
    line.inbox = framed(payload)
    gc.collect()
    before = gc.mem_alloc()
    ticks = ticks_of(poll) - EMPTY
    count = gc.mem_alloc() - before
    while line.inbox:
        raise AssertionError("it was not read at once")
    return ticks, count


def served(session):
    """Return an agent that serves a port, and its connection."""
    link = Server(session)
    connection = link.callers[0]
    made = make_agent(board, 600_000, 1000, link, _LIMITS)
    made.memory.wanted = 0
    return made, connection


def request(number):
    return packed(67, _HOST, number, 0, [])


def signed(payload):
    """Return a payload with the next counter and its MAC."""
    global counter
    counter += 1
    text = payload + counter.to_bytes(4, "big")
    return text + mac(session + b"h", text)[:8]


board = detect()
board.identity = ("bench", "", "", bytes(range(8)), None, "")
counter = most = 0
line = Line()
agent, line = served(Hosts)
poll()
say(packed(64, 1, 6, _HOST, None))
say(request(0))  # which loads what carries out requests
tell("keys_request_without", *say(request(1)))


def in_use():
    gc.collect()
    return gc.mem_alloc()


def hash_watched(data):
    """Stand in for the board's hash: note the bytes that are in use at each."""
    global most
    made = sha256(data)
    most = max(most, in_use())
    return made


def say_watched(payload):
    """Have the board hear a payload; return the bytes in use at most meanwhile, and after it."""
    global most
    line.inbox = framed(payload)
    most = 0
    before = in_use()
    warden.keys.sha256 = hash_watched
    poll()
    warden.keys.sha256 = sha256
    after = in_use()
    return max(most, after) - before, after - before


def begin():
    """Have a connection come to a board with keys."""
    global agent, line
    agent, line = served(KeyedHosts)
    poll()


def shake_hands(say):
    """Prove the key; return the session's key, and what say() returned for both messages."""
    greeting = say(packed(68, 1, 2, bytes(16)))
    transcript = agent.session.hosts[0].peer.transcript
    proof = say(packed(69, hmac(_KEY, b"host", transcript)))
    return hmac(_KEY, b"session", transcript), greeting, proof


sha256 = warden.keys.sha256
begin()
_, greeting, proof = shake_hands(say_watched)
tell("keys_handshake_peak", 0, max(greeting[0], greeting[1] + proof[0]))
begin()
session, greeting, proof = shake_hands(say)
tell("keys_handshake", greeting[0] + proof[0], greeting[1] + proof[1])
say(signed(packed(64, 1, 6, _HOST, None)))
say(signed(request(0)))
tell("keys_request", *say(signed(request(1))))
assert agent.faults == 0
