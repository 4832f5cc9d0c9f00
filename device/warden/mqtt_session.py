"""Serves all hosts by one stream that each of them reads, as over MQTT; loaded for `MqttLink`.

All there is to know is sent anew for a host that subscribes, and each half minute for those that
only read: that is a whole, HELLO, a sample, all rows and events, and SYNCED.
"""

from micropython import const

from warden.host_session import HostSession
from warden.link.mqtt import status

_BAD_FIGURE = const(18)  # a place among a sample's figures
_SUBSCRIBE = const(64)
_UNSUBSCRIBE = const(65)
_MAX_WAITING = const(4)  # hosts
_ALL = const(-1)  # stands for the id of a host: whoever reads
_WHOLE_S = const(30)
_ALIVE_S = const(10)
_NOTHING_MS = const(60_000)


class MqttSession(HostSession):
    """One stream for all hosts; host_id: 0 while the link is down."""

    limit = 8  # hosts whose last replies are remembered, as many as have sessions

    def __init__(self, agent):
        HostSession.__init__(self, agent)
        self.link = link = agent.link
        link.agent = agent
        agent.reasons.append(0)  # of the last will, which status() finds out
        link.opened = True
        link.report(status(agent))
        self.uplink.buf = link.buf
        self.buf = None
        self.at = 0  # in the message that is read
        self.waiting = []  # ids of hosts, each of a whole that begins with a HELLO for it
        self.owner = 0  # the host of this whole; 0: none
        self.whole_s = self.live_s = 0  # the uptime at which the next whole, or ALIVE, is due
        self.sent = 0  # of the uplink, at the last pump()
        self.replies = ()  # of no one host: send() sends all of them

    # --- from the hosts -------------------------------------------------------------------------

    def listen(self):
        """Act on the next frame of the message that has waited longest."""
        link = self.link
        deframer = self.deframer
        message = link.queue[link.used & len(link.queue) - 1]
        if not self.at:
            deframer.opened = deframer.in_frame = False
        self.at = deframer.feed(message, self.at, len(message))
        if self.at == len(message):
            self.at = 0
            link.used = link.used + 1 & 0xFFFF
        if deframer.length:
            host_id = self.host_id
            self._on_payload()
            self.host_id = host_id
        self.sample.figures[_BAD_FIGURE] = deframer.bad

    def process(self, reader):
        """Act on a payload, whichever host it is from."""
        reader.at = 2
        kind = reader.buf[1]
        if kind != _SUBSCRIBE:
            self.host_id = max(0, reader.integer())
            policy = self.agent.policy
            if kind == _UNSUBSCRIBE and (
                policy is None or self.host_id not in policy.sessions.hosts
            ):
                return  # it has nothing, and its going is no event
        HostSession.process(self, reader)

    def subscribe(self, host_id):
        """Have a host wait for the next full state, at least a second after the last one began."""
        self.events_from = None  # a full state has all events, whatever one of its readers wants
        self.host_id = host_id
        self.renew()
        waiting = self.waiting
        if len(waiting) < _MAX_WAITING and host_id not in waiting:
            if not waiting:
                self.whole_s -= _WHOLE_S - 1
            waiting.append(host_id)

    def free(self, row):
        """Tell whether another host may have a row of `Requests`: no request of it comes again."""
        return self.clock.s >= row[2]

    # --- to the hosts ---------------------------------------------------------------------------

    def begin(self):
        """Begin to send the full state, for the host that has waited longest, if one does."""
        s = self.clock.s
        if not self.hello_dirty:
            self.owner = 0
            if self.waiting:
                self.owner = self.waiting.pop(0)
                self.agent.governor.allow_snapshot(s)
        self.whole_s = s + (1 if self.waiting else _WHOLE_S)
        for table in self.tables:
            table.subscribe()
        self.sample.subscribe()
        self.hello_dirty = self.synced_dirty = self.clock.rows_dirty = True

    def pump(self, rows):
        """Send what is due, as far as the client takes it; return the ms until there is more."""
        s = self.clock.s
        link = self.link
        if not link.isconnected():
            if self.host_id:
                self.on_host("lost")
                self.host_id = 0
            return _NOTHING_MS
        self.host_id = _ALL
        if link.opened:
            link.opened = False
            self.on_host("found")
            self.whole_s = s
            self.synced_dirty = False
        if self.sent != self.uplink.sent:
            self.sent = self.uplink.sent
            self.live_s = s + _ALIVE_S
        elif s >= self.live_s:
            self.alive_dirty = True
        # A HELLO alone, of a capability that has changed, would be taken for a whole's beginning.
        if self.hello_dirty or (s >= self.whole_s and not self.synced_dirty):
            self.begin()
        self.deadline_s = max(s + 1, min(self.whole_s, self.live_s))
        self.deadline_ms = self.clock.ms
        return HostSession.pump(self, rows)

    def send(self, rows):
        """Send what is due in its order; return False where the client did not take all of it."""
        requests = self.requests
        place = 0
        while requests is not None and place < len(requests.hosts):
            if not requests.send_replies(self.uplink, requests.hosts[place], True):
                return False
            place += 1
        self.host_id = self.owner  # HELLO and SYNCED have it
        is_sent = HostSession.send(self, rows)
        self.host_id = _ALL
        return is_sent
