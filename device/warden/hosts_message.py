"""A message to several hosts: encoded once, framed for each; loaded for `TcpServer`."""

from micropython import const

from warden_schema.codec import put

_MAX_PAYLOAD = const(200)
_SLACK = const(48)  # behind it: a text is put with zeros behind it
_MAX_WIRE = const(406)

# The payload: an array's head and the kind; room for the head of a frame, which is these two and a
# seq of up to three bytes; the body.
_FIRST_HEAD = const(2)
_BODY = const(7)
_HEADS = const(3)  # lengths that there are


class Message:
    """A message to several hosts: encoded once as into an `Uplink`, sent to `host`, None: to all.

    seq: of the newest sample, from which a DELTA counts; a frame has its host's numbers instead.
    sent: bytes to all, modulo 2**16.
    """

    acknowledge = bool  # of a seq: nothing to note, a connection itself tells how much it takes

    def __init__(self, hosts):
        self.hosts = hosts
        self.host = None
        self.payload = self.views = self.buf = None  # while there is a connection
        self.at = 0
        self.seq = 0
        self.sent = 0

    def take_room(self):
        """Allocate what a message is put in."""
        self.payload = bytearray(_BODY + _MAX_PAYLOAD + _SLACK)
        view = memoryview(self.payload)
        self.views = [
            view[at:] for at in range(_FIRST_HEAD, _FIRST_HEAD + _HEADS)
        ]  # where a frame may begin
        self.buf = bytearray(_MAX_WIRE)

    def begin(self, kind, fields):
        """Start a message with `fields` fields after kind and seq; return where they go."""
        self.payload[0] = 0x92 + fields
        self.payload[1] = kind
        self.at = _BODY
        return _BODY

    def put(self, value):
        """Put one field."""
        self.at = put(self.payload, self.at, value)

    def send(self, reserve=0):
        """Send it; return False where the host's connection does not take it now."""
        if self.host is not None:
            return self.host.transmit()
        for host in self.hosts:
            if host.host_id:
                host.transmit()
        return True
