"""Serves hosts that prove a key over a stream that all of them read; for an `MqttLink` with keys.

There is no connection that would say who sends a message: each names its host, those of the
handshake, too, and what no key has signed is of no host. Who proves none may read the stream.
"""

from micropython import const

from warden.link.keys import Keys, Peer
from warden.mqtt_session import MqttSession
from warden.uplink import Uplink
from warden_schema.codec import Malformed, put

_REPLY = const(7)
_SUBSCRIBE = const(64)
_GREETING = const(68)
_PROOF = const(69)
_HOST_ID_AT = b"\x04\x02\x02\x02\x16\x46"  # where it is in a payload, by kind from SUBSCRIBE on
_NEEDED = const(1)  # a reason of KEY_REFUSED
_OBSERVE = const(1)
_MAX_GREETED = const(2)  # hosts in the midst of a handshake
# Hosts: one more takes the place of the one that was silent for longest, of those that have no
# greater right, if there are such.
_MAX_PROVED = const(4)
_MAX_WAITING = const(4)  # as in `mqtt_session`; no fewer than can have proved a key
_RESERVE = const(48)


def attach(link, key, control_key):
    """Have a link serve who proves one of these keys; ValueError for one with control=True."""
    if link.right != _OBSERVE:
        raise ValueError("control=True is without keys")
    link.session = KeyedMqttSession
    link.keys = Keys(key, control_key, False)


class StreamPeer(Peer):
    """A host among those that read the stream; what it is answered has its host_id at the end."""

    def __init__(self, session, host_id):
        super().__init__(session, session.keys, self)
        self.host_id = host_id
        self.stream = session.uplink
        self.put = self.stream.put

    def begin(self, kind, fields):
        """Begin a message to it, as that of `Uplink`."""
        self.stream.begin(kind, fields + 1)

    def send(self):
        """Send the message; it comes again where it does not go now."""
        self.put(self.host_id)
        self.stream.send()


class SigningUplink(Uplink):
    """Signs each reply for the host whose id was put last. find: returns its peer, or None."""

    def put(self, value):
        """Put one field, and remember it."""
        self.last = value
        self.at = put(self.payload, self.at, value)

    def send(self, reserve=_RESERVE):
        """Send the message, as that of `Uplink`."""
        if self.payload[1] == _REPLY:
            peer = self.find(self.last)
            if peer is not None:
                self.at = peer.seal(self.payload, 0, self.at)
        return Uplink.send(self, reserve)


class KeyedMqttSession(MqttSession):
    """An `MqttSession` that acts on what a proved key has signed.

    proved: hosts that have proved a key, the last one that sent something at the end. A host that
    may change things has an odd id, others an even one: so who proves the lesser key never acts in
    the name of who proved the other.
    """

    def __init__(self, agent):
        super().__init__(agent)
        self.uplink = uplink = SigningUplink(self.link)
        uplink.buf = self.link.buf
        uplink.find = self.find_peer
        self.keys = keys = self.link.keys
        keys.server = self
        self.greeted = []
        self.proved = []
        self.peer = None  # whose message is acted on

    def find_peer(self, host_id):
        """Return the peer that has proved a key under this id, or None."""
        for peer in self.proved:
            if peer.host_id == host_id:
                return peer
        return None

    def process(self, reader):
        """Act on a payload, if its host has signed it, or need not."""
        kind = reader.buf[1]
        if not _SUBSCRIBE <= kind <= _PROOF:
            super().process(reader)
            return
        reader.at = _HOST_ID_AT[kind - _SUBSCRIBE]
        host_id = reader.integer()
        if host_id <= 0:
            raise Malformed
        self.peer = peer = self.find_peer(host_id)
        if kind >= _GREETING:
            self.on_handshake(kind, host_id, reader)
        elif peer is not None:
            self.link.right = peer.right
            peer.process(reader)
        elif kind == _SUBSCRIBE:  # whoever reads the stream may have a whole of it begun
            super().process(reader)
        else:
            StreamPeer(self, host_id).refuse(_NEEDED)

    def pass_on(self, reader):
        """Act on a payload that its host has signed."""
        self.proved.remove(self.peer)
        self.proved.append(self.peer)
        super().process(reader)

    def subscribe(self, host_id):
        """Have a host wait for the next full state; Malformed for one that has not signed that."""
        if self.find_peer(host_id) is not self.peer:
            raise Malformed
        if self.peer is not None and len(self.waiting) == _MAX_WAITING:
            for other in self.waiting:
                if self.find_peer(other) is None:  # a stranger, who gives its place
                    self.waiting.remove(other)
                    break
        super().subscribe(host_id)

    def renew(self):
        """Begin a host's silence anew, if it has signed what came."""
        if self.peer is not None and self.peer.host_id == self.host_id:
            super().renew()

    # --- the handshake --------------------------------------------------------------------------

    def on_handshake(self, kind, host_id, reader):
        """Act on a GREETING or PROOF; the session that a host has goes on until it is proved."""
        greeted = self.greeted
        for peer in greeted:
            if peer.host_id == host_id:
                break
        else:
            peer = self.peer  # its PROVED was lost, then
            if kind == _GREETING:
                peer = StreamPeer(self, host_id)
                if len(greeted) == _MAX_GREETED:
                    greeted.pop(0)
                greeted.append(peer)
            elif peer is None:  # too many began since
                StreamPeer(self, host_id).refuse(_NEEDED)
                return
        peer.process(reader)
        if peer.has_failed:
            greeted.remove(peer)

    def on_proved(self, peer):
        """Let a host that has proved a key in."""
        self.greeted.remove(peer)
        if peer.host_id & 1 != peer.right - _OBSERVE:
            raise Malformed
        proved = self.proved
        former = self.find_peer(peer.host_id)
        if former is None and len(proved) == _MAX_PROVED:
            former = proved[0]
            for other in proved:
                if other.right <= peer.right:
                    former = other
                    break
        if former is not None:
            proved.remove(former)
        proved.append(peer)

    def on_wrong(self, peer):
        """Post the event for a wrong key."""
        self.keys.tell_wrong(None)
