"""A stream that all hosts read, in memory, for boards without sockets, too."""

from frames import decode, deframed, framed
from rig import poll_now
from virtual_board import VirtualBoard
from warden.mqtt_session import MqttSession
from warden.setup import make_agent

_MAX_PAYLOAD = 300


class FakeLink:
    """Stands in for a link of `warden.link.mqtt`, whose application reads at once.

    is_stuck: its client takes no frame now. is_counting: what it sends is counted only.
    """

    window = 0
    waitable = None
    right = 2
    session = MqttSession
    state = "boardwarden/b/state"
    will = "state"  # which it has as the last will, too

    def __init__(self):
        self.client = self
        self.agent = None
        self.opened = self.is_stuck = self.is_counting = False
        self.is_joined = True
        self.queue = [None] * 4
        self.received = self.used = 0
        self.buf = bytearray(406)
        self.outbox = []
        self.written = 0

    def isconnected(self):
        return self.is_joined

    def report(self, state):
        """Do nothing: a real one publishes `state`."""

    def readable(self):
        return self.received != self.used

    def write(self, buf, start, end):
        if self.is_stuck or not self.is_joined:
            return 0
        self.written += end
        if not self.is_counting:
            self.outbox.append(bytes(buf[:end]))
        return end

    def close(self):
        self.is_joined = False

    def rejoin(self):
        self.is_joined = self.opened = True

    def receive_bytes(self, message):
        assert self.received - self.used < 4
        self.queue[self.received & 3] = message
        self.received = self.received + 1 & 0xFFFF

    def receive(self, *message):
        """Have a host publish this message."""
        self.receive_bytes(framed(list(message)))

    def sent(self):
        """Return the messages that were sent since the last call, each frame whole by itself."""
        found = []
        for frame in self.outbox:
            payloads, text, bad = deframed(frame, _MAX_PAYLOAD)
            assert len(payloads) == 1 and not text and not bad, frame
            found.append(self.decode(payloads[0]))
        self.outbox = []
        return found

    def decode(self, payload):
        """Return the message in a payload."""
        return decode(payload)


class Rig:
    """An agent with such a link, in a time set by hand."""

    def __init__(self, interval_ms=1000, link=None):
        self.link = link or FakeLink()
        self.board = VirtualBoard()
        self.agent = make_agent(self.board, interval_ms, 1000, self.link, (4, 300_000, 100, 5000))
        self.policy = self.agent.policy
        self.policy.thresholds.set("memory")
        self.board.leases = self.policy.leases
        self.seq = None
        self.drain()

    def poll(self, ms=0):
        """Let time pass, and return what was sent then; numbers go on by one."""
        self.board.ticks.pass_ms(ms)
        return self.drain()

    def drain(self):
        for _ in range(100):
            poll_now(self.agent)
            if not self.link.readable() and not self.agent.clock.rows_dirty:
                break
        assert self.agent.faults == 0
        found = self.link.sent()
        for message in found:
            assert self.seq is None or message[1] == self.seq + 1 & 0xFFFF, (self.seq, message)
            self.seq = message[1]
        return found

    def seconds(self, count):
        found = []
        for _ in range(count):
            found += self.poll(1000)
        return found

    def subscribe(self, host_id, *events_from):
        self.link.receive(64, 1, 7, host_id, *events_from)

    def request(self, host_id, request_id, operation, *arguments):
        self.link.receive(67, host_id, request_id, operation, list(arguments))
