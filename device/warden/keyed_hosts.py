"""Several hosts that prove a key, or see figures only; loaded for a `TcpServer` with keys."""

from micropython import const

from warden.hosts import Host, Hosts
from warden.link.brakes import Brakes
from warden.link.keys import Peer

_REPLY = const(7)
_MAX_HOSTS = const(3)
_UNPROVED_MS = const(3000)  # a connection has so long to prove a key, and subscribe,
_YIELD_MS = const(300)  # or so long while somebody waits at another address,
_LAST_WORD_MS = const(300)  # or, once it has failed, so long to read why
_MAX_ACCEPTED = const(8)  # connections in a poll
_NOBODY = const(-1)
_NO_KEY = const(0)


class KeyedHost(Host):
    """A connection over which nothing counts before a key was proved."""

    def __init__(self, server, link):
        super().__init__(server, link)
        self.peer = Peer(server.keys, self.uplink, super().process)
        self.peer.host = self
        self.began_ms = self.agent.ticks_ms()

    def process(self, reader):
        """Have the peer process a payload, which passes on what is the session's."""
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
        super().subscribe(host_id)

    def find_requests(self):
        """Return what carries out requests, for what this host may do."""
        self.link.right = self.peer.right
        return super().find_requests()

    def transmit(self):
        """Send what the peer may have, and sign replies; what is hidden from it counts as sent."""
        kind = self.uplink.payload[1]
        may = self.peer.may_have(kind)
        if may <= 0:
            return may < 0
        if kind == _REPLY and self.peer.sign is not None:
            return self.transmit_signed()
        return Host.transmit(self)

    def transmit_signed(self):
        """Send a reply with its counter and MAC."""
        message = self.uplink
        message.at = self.peer.seal(message.payload, self.put_head(), message.at)
        return Host.transmit(self)

    def is_older(self, limit_ms):
        """Tell whether it was made, or failed, longer ago than that."""
        agent = self.agent
        return not 0 <= agent.ticks_diff(agent.ticks_ms(), self.began_ms) <= limit_ms

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
        keys.agent = agent
        keys.on_proved = self.on_proved
        keys.on_wrong = self.on_wrong
        self.brakes = Brakes(agent.ticks_ms, agent.ticks_diff)

    def on_proved(self, peer):
        """Note that a connection has proved a key: its address waits no more."""
        self.brakes.clear(peer.host.link.address)

    def on_wrong(self, peer):
        """Note a wrong key; the connection is closed when it has read why."""
        peer.host.began_ms = self.agent.ticks_ms()
        self.keys.tell_wrong(peer.host.link.address)

    def let_in(self):
        """Accept connections: one that is not subscribed yet, and has a short time for it."""
        for _ in range(_MAX_ACCEPTED):
            link = self.agent.link.accept()
            if link is None:
                return
            if not self.has_place(link.address) or self.brakes.is_paused(link.address):
                link.drop()
                continue
            try:
                self.hosts.append(KeyedHost(self, link))
            except MemoryError:
                link.drop()

    def has_place(self, address):
        """Tell whether a connection from there may begin; the one that has begun may give way."""
        for host in self.hosts:
            if not host.host_id and host.link.connection is not None:
                own = host.link.address == address
                if not host.is_older(_UNPROVED_MS if own else _YIELD_MS):
                    return False
                host.link.drop()
        self.purge()
        return True

    def pump(self, rows):
        """Send what is due, and end what is late; return the ms until there is more to do."""
        left = Hosts.pump(self, rows)
        if self.end_late():
            left = min(left, _YIELD_MS)
        self.purge()
        return left

    def end_late(self):
        """End connections that are late; return whether one has still to subscribe."""
        is_one = False
        for host in self.hosts:
            if not host.host_id:
                is_one = True
                if host.is_late():
                    host.link.drop()
        return is_one

    def purge(self):
        """Forget the connections that have ended; who proved no key has failed."""
        for host in self.hosts:
            if host.link.connection is None and host.peer.right == _NOBODY:
                self.brakes.fail(host.link.address)
        super().purge()
