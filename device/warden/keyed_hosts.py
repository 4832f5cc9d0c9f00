"""Several hosts that prove a key, or see figures only; loaded for a `TcpServer` with keys."""

from micropython import const

from warden.host_connection import Host
from warden.hosts import Hosts
from warden.link.brakes import Brakes
from warden.link.keys import Peer

_REPLY = const(7)
_MAX_HOSTS = const(3)
_UNPROVED_MS = const(3000)  # a connection has so long to prove a key, and subscribe,
_YIELD_MS = const(300)  # or so long while somebody waits at another address,
_AT_ONCE_MS = const(-1)  # or nothing, where one proved a key at that before,
_LAST_WORD_MS = const(300)  # or, once it has failed, so long to read why
_MAX_ACCEPTED = const(8)  # connections in a poll
_NOBODY = const(-1)
_NO_KEY = const(0)
_CONTROL = const(2)


class KeyedHost(Host):
    """A connection over which nothing counts before a key was proved."""

    pass_on = Host.process  # what the peer may send

    def __init__(self, server, link):
        super().__init__(server, link)
        self.peer = Peer(self, server.keys, self.uplink)
        self.peer.began_ms = self.agent.ticks_ms()

    def process(self, reader):
        """Act on a payload of the handshake, or one that the peer may send."""
        self.peer.process(reader)

    def subscribe(self, host_id):
        """Begin the subscription; a host without a key gives its place to one with a key."""
        server = self.server
        if self.peer.right > _NO_KEY and not self.host_id:
            hosts = server.subscribed()
            for host in hosts:
                if len(hosts) >= _MAX_HOSTS and host.peer.right == _NO_KEY:
                    host.on_host("lost")
                    host.host_id = 0
                    host.link.drop()
                    break
        self.link.right = self.peer.right
        super().subscribe(host_id)

    def places(self):
        """Return who has the places; who proves no key is told how many there are."""
        return super().places() if self.peer.right > _NO_KEY else [None] * _MAX_HOSTS

    def transmit(self):
        """Send what the peer may have, and sign replies; what is hidden from it counts as sent."""
        message = self.uplink
        peer = self.peer
        kind = message.payload[1]
        if peer.right <= _NO_KEY:
            may = peer.may_have(kind)
            if may <= 0:
                return may < 0
        elif kind == _REPLY:
            at = self.put_head()
            message.at = peer.seal(message.payload, at, message.at)
            return Host.transmit(self, at)
        return Host.transmit(self)

    def on_closed(self):
        """Note that its connection has ended; who proved no key has failed."""
        if self.peer.right == _NOBODY:
            self.server.brakes.fail(self.link.address)
        super().on_closed()

    def is_older(self, limit_ms):
        """Tell whether it was made, or failed, longer ago than that."""
        agent = self.agent
        return not 0 <= agent.ticks_diff(agent.ticks_ms(), self.peer.began_ms) <= limit_ms

    def is_late(self):
        """Tell whether it has not proved a key, and subscribed, in time."""
        if self.host_id or self.is_full:
            return False
        return self.is_older(_LAST_WORD_MS if self.peer.has_failed else _UNPROVED_MS)


class KeyedHosts(Hosts):
    """Serves hosts that prove a key; makes those wait that do not, see `Brakes`."""

    def __init__(self, agent):
        super().__init__(agent)
        self.keys = keys = agent.link.keys
        keys.server = self
        self.brakes = Brakes(agent)
        self.has_new = False  # a connection that has still to subscribe

    def on_proved(self, peer):
        """Note that a connection has proved a key: its address waits no more."""
        self.brakes.clear(peer.host.link.address)

    def on_wrong(self, peer):
        """Note a wrong key; the connection is closed when it has read why."""
        peer.began_ms = self.agent.ticks_ms()
        self.keys.tell_wrong(peer.host.link.address)

    def let_in(self):
        """Accept connections: one that is not subscribed yet, and has a short time for it."""
        for _ in range(_MAX_ACCEPTED):
            link = self.agent.link.accept()
            if link is None:
                return
            if self.brakes.is_paused(link.address) or not self.has_place(link.address):
                link.drop()
                continue
            self.serve(KeyedHost, link)
            self.has_new = True

    def has_place(self, address):
        """Tell whether a connection from there may begin; the one that has begun may give way."""
        for host in self.hosts:
            if not host.host_id and host.link.connection is not None:
                own = host.link.address
                if own == address or own in self.brakes.proved:
                    limit_ms = _UNPROVED_MS
                elif address in self.brakes.proved:
                    limit_ms = _AT_ONCE_MS
                else:
                    limit_ms = _YIELD_MS
                if not host.is_older(limit_ms):
                    return False
                host.link.drop()
        self.purge()
        return True

    def replace(self, host, host_id):
        """End the connection that a host had before, as `Hosts.replace`, or one that proved less.

        None also where the id is of a host that proved more, which is connected or holds something.
        """
        right = host.peer.right
        policy = self.agent.policy
        if right < _CONTROL and policy is not None and host_id in policy.sessions.hosts:
            return None
        for other in self.hosts:
            if other.host_id == host_id and other.peer.right != right:
                if other.peer.right > right:
                    return None
                other.on_host("lost")
                other.host_id = 0
                other.link.drop()
        return super().replace(host, host_id)

    def pump(self, rows):
        """Send what is due, and end what is late; return the ms until there is more to do."""
        left = Hosts.pump(self, rows)
        if self.has_new:
            self.end_late()
            left = min(left, _YIELD_MS)
        return left

    def end_late(self):
        """End connections that are late to prove a key, and subscribe."""
        self.has_new = False
        for host in self.hosts:
            if not host.host_id:
                self.has_new = True
                if host.is_late():
                    host.link.drop()
        self.purge()
