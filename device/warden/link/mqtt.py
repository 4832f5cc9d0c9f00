"""A link over the application's own MQTT connection, by umqtt.simple or umqtt.robust.

The application connects, reads and reconnects. Its client's functions are wrapped: each new
connection subscribes to `down`, and no frame goes between two writes of one of them. A frame is one
QoS 0 PUBLISH on `up`, written to the client's socket in one call, where `select.poll` says that it
takes something.
"""

from micropython import const

from warden.sensors.threads import get_ident
from warden_schema.codec import put

_OFFLINE = const(b"\x91\x00")  # msgpack of [0]
_ONLINE = const(1)
_MAX_STATE = const(256)
_MAX_MESSAGES = const(4)  # that wait; a power of two
_MAX_MESSAGE = const(1024)  # bytes
_CAN_WILL = const(18)  # a place among the capabilities
_OWN_WILL = const(20)  # a reason, from ids


class UmqttLink:
    """Over a client of umqtt.simple, umqtt.robust, or one with the same functions.

    `warden.mqtt_setup` gives it its attributes. session(agent) makes what serves the hosts; right:
    what they may do; agent: while one uses it. topic, state: those of `down` and `state`; wire: a
    PUBLISH on `up`, in which the session puts a frame at `head`, the beginning of buf. queue: the
    messages that wait, of which `received` came and `used` were taken, modulo 2**16. sock: the
    client's, while frames can go; opened: none has over it. owner: of one item, the thread that is
    in one of the client's functions; active: the agent itself has the lock, `releases` is by that;
    joining: the thread that must not begin to reconnect. wrapped: the client's own functions, first
    connect, disconnect and reconnect; of `mqtt_setup`.
    """

    window = 0  # the client itself tells how much it takes
    waitable = None  # messages come when the application reads
    will = "lw_topic"  # the client's attribute that has the topic of its last will

    def locked(self, function):
        """Return a function of the client's, during which no frame goes between its writes."""
        acquire = self.acquire  # this client's: a thread may come out of it when there is a next
        owner = self.owner
        release = self.releases[1]

        def run(*args, **kwargs):
            if owner[0] == get_ident():  # one of them calls another
                return function(*args, **kwargs)
            acquire()
            owner[0] = get_ident()
            try:
                return function(*args, **kwargs)
            finally:
                owner[0] = None
                release()

        return run

    # --- the application's calls ----------------------------------------------------------------

    def set_callback(self, callback):
        """Set the application's own callback."""
        self.callback = callback
        self.client.cb = self.feed

    def feed(self, topic, message, *more):
        """Have a message from `down` wait to be read; pass others on to the application.

        One too many is lost, as messages are: a host sends it again. A retained one is of the past.
        """
        if topic != self.topic:
            if self.callback is not None:
                self.callback(topic, message, *more)
        elif (
            (self.received - self.used & 0xFFFF) < _MAX_MESSAGES
            and len(message) <= _MAX_MESSAGE
            and not (more and more[0])
        ):
            self.queue[self.received & _MAX_MESSAGES - 1] = message
            self.received = self.received + 1 & 0xFFFF

    def connect(self, *args, **kwargs):
        """Connect, and subscribe to `down`."""
        self.sock = None
        result = self.wrapped[0](*args, **kwargs)
        self.join()
        return result

    def disconnect(self):
        """Say that the board is offline, for the broker sends no will then, and disconnect."""
        self.report()
        self.sock = None
        self.wrapped[1]()

    def reconnect(self):
        """Reconnect as umqtt.robust does, and subscribe: older ones do not call connect()."""
        if self.joining == get_ident():
            raise OSError
        self.sock = None
        result = self.wrapped[2]()
        if self.sock is None:
            self.join()
        return result

    def join(self):
        """Subscribe over a new connection; then frames can go."""
        import select

        client = self.client
        if self.try_to(client.subscribe, self.topic):
            poller = select.poll()
            poller.register(client.sock, select.POLLOUT)
            self.ipoll = poller.ipoll
            self.opened = True
            self.sock = client.sock
            if self.agent is not None:
                self.report(status(self.agent))

    def try_to(self, function, *args):
        """Call a function of the client's; return whether the connection is there.

        Nothing is raised, and robust does not reconnect meanwhile: the application's next call
        finds that the connection has ended.
        """
        self.joining = get_ident()
        try:
            function(*args)
        except OSError:
            return False
        except Exception:  # a broker refuses it, say
            pass
        finally:
            self.joining = None
        return True

    # --- the agent's ----------------------------------------------------------------------------

    def isconnected(self):
        """Tell whether frames can go; else not until the client connects."""
        return self.sock is not None and self.sock is self.client.sock

    def readable(self):
        """Tell whether a message waits."""
        return self.received != self.used

    def write(self, buf, start, end):
        """Publish buf[:end]; return its length, 0 where it cannot go now.

        OSError where the connection has ended.
        """
        return self.put(end) if self.isconnected() else 0

    def put(self, end):
        """Publish buf[:end], unless the application is in a function of its client."""
        self.active = self.acquire(0)
        try:  # no jump comes before it: at one, Ctrl-C may come
            end = self.send(end)
        finally:
            self.releases[self.active]()
        return end

    def send(self, end):
        """Publish buf[:end], if the socket takes something.

        One call writes all of it: the rest of a packet must not wait while the application writes.
        """
        if not self.active or not any(self.ipoll(0)):
            return 0
        packet = self.wire
        start = 0
        size = self.head + end - 3
        if size < 0x80:
            start = 1
            packet[2] = size
        else:
            packet[1] = size & 0x7F | 0x80
            packet[2] = size >> 7
        packet[start] = 0x30
        size += 3 - start
        self.sock = None  # should it fail
        # None is nothing, or what TLS has kept: a frame that is lost is noticed.
        if (self.client.sock.write(packet, start, size) or size) != size:
            return 0
        self.sock = self.client.sock
        return end

    def report(self, state=_OFFLINE):
        """Publish `state`, if there is a connection, whose socket takes something."""
        if self.isconnected() and any(self.ipoll(0)):
            self.try_to(self.client.publish, self.state, state, True)

    close = report  # the connection goes on to be the application's


def status(agent):
    """Return the payload of `state`: who is there, and its stored policy.

    Of the policy None stands for a board that only watches, 0 for none that is stored; see
    ids.KEPT. Whose the last will is, a capability, is found out with it: only a new connection
    changes that.
    """
    link = agent.link
    has_will = getattr(link.client, link.will) is link.state
    agent.reasons[_CAN_WILL] = 0 if has_will else _OWN_WILL
    policy = agent.policy
    if policy is not None:
        policy = 0 if policy.stored_policy is None else policy.stored_policy.state
    buf = bytearray(_MAX_STATE)
    end = put(buf, 0, (_ONLINE, agent.board.identity, agent.board.boot_id, policy))
    return bytes(buf[:end])
