# targets: unix frozen
"""The link over a client of umqtt's kind: whole packets whatever happens, and nothing waits."""

import io
import sys

import warden
from figures import figure
from frames import decode, deframed, framed
from harness import no_heap, raises
from rig import board, free_port, poll_all, poll_for_sample, poll_now, skip_seconds
from umqtt_like import MqttError, OldRobust, Robust, Simple
from warden.launch import make_runner
from warden.mqtt_setup import MqttLink
from warden.runner import Runner
from warden.setup import make_agent

HELLO, SYNCED, REPLY = 1, 5, 7
_LAST_WILL = 18  # a capability, and what it says of an application's own
_OWN_WILL = 20
_POLL = 3
_POLLOUT = 4
_SOL_SOCKET, _SO_SNDBUF, _SO_RCVBUF = 1, 7, 8  # Linux's
_UP, _DOWN, _STATE = b"boardwarden/b/up", b"boardwarden/b/down", b"boardwarden/b/state"


class FakeSocket(io.IOBase):
    """A socket with a broker behind it that answers CONNECT and SUBSCRIBE.

    packets: (first byte, body) of each whole one that came. is_full: it takes nothing; fails: a
    write raises OSError; refuses: the broker refuses subscriptions; dies_at: it is gone when a
    packet of this kind comes. on_write is called before each write.
    """

    def __init__(self):
        self.packets = []
        self.came = bytearray()
        self.answers = bytearray()
        self.is_full = self.fails = self.refuses = self.is_counting = False
        self.dies_at = None
        self.has_waited = False  # a write would have
        self.written = 0
        self.on_write = None
        self.is_blocking = True

    def ioctl(self, request, argument):
        if request != _POLL:
            return -1  # it has no file's number
        return 0 if self.is_full else argument & _POLLOUT

    def setblocking(self, is_blocking):
        self.is_blocking = is_blocking

    def close(self):
        pass

    def write(self, data, start=0, size=None):
        if self.fails:
            raise OSError(104)
        if self.is_counting:
            self.written += size
            return size
        self.has_waited |= self.is_full
        data = data.encode() if isinstance(data, str) else data
        data = data[start : len(data) if size is None else start + size]
        if self.on_write is not None:
            function = self.on_write
            self.on_write = None
            function()
            self.on_write = function
        self.came.extend(data)
        while self.take():
            pass
        return len(data)

    def take(self):
        """Take a whole packet from what came, and answer it."""
        came = self.came
        size = shift = 0
        at = 1
        while True:
            if at >= len(came):
                return False
            size |= (came[at] & 127) << shift
            shift += 7
            at += 1
            if not came[at - 1] & 128:
                break
        if at + size > len(came):
            return False
        kind, body = came[0], bytes(came[at : at + size])
        self.came = came[at + size :]
        self.packets.append((kind, body))
        if kind & 0xF0 == self.dies_at:
            self.fails = True
        elif kind == 0x10:
            self.answers.extend(b"\x20\2\0\0")
        elif kind == 0x82:
            self.answers.extend(b"\x90\3" + body[:2] + (b"\x80" if self.refuses else b"\0"))
        elif kind == 0xA2:
            self.answers.extend(b"\xb0\2" + body[:2])
        return True

    def read(self, count):
        if self.fails:
            return b""
        if not self.answers:
            assert not self.is_blocking, "it would wait for ever"
            return None
        data = bytes(self.answers[:count])
        self.answers = self.answers[count:]
        return data

    def deliver(self, topic, message, retain=False):
        """Have the broker send a message."""
        body = bytes([0, len(topic)]) + topic + message
        assert len(body) < 128
        self.answers.extend(bytes([0x31 if retain else 0x30, len(body)]) + body)

    def published(self, topic):
        """Return the messages that came on a topic."""
        found = []
        for kind, body in self.packets:
            if kind & 0xF0 == 0x30 and body[2 : 2 + body[1]] == topic:
                found.append(body[2 + body[1] :])
        return found

    def sent(self):
        """Return the agent's messages, each a frame that is whole by itself."""
        found = []
        for frame in self.published(_UP):
            payloads, text, bad = deframed(frame, 300)
            assert len(payloads) == 1 and not text and not bad, frame
            found.append(decode(payloads[0]))
        return found


class Rig:
    """A client of a kind, its link, and an agent with that; each connection is a FakeSocket."""

    def __init__(self, kind=Simple, control=True, is_joined=True):
        self.sockets = []
        self.next = FakeSocket  # makes the next one, or raises OSError
        self.got = []
        self.client = self.make_client(kind)
        self.link = MqttLink(self.client, "b", control=control)
        self.agent = make_agent(board(), 1000, 1000, self.link, (4, 300_000, 100, 5000))
        if is_joined:
            self.client.connect()
            poll_all(self.agent)

    def make_client(self, kind):
        client = kind(b"b", "broker", keepalive=60)
        client.make_socket = self.make_socket
        client.set_callback(self.on_message)
        return client

    def make_socket(self):
        self.sockets.append(self.next())
        return self.socket

    @property
    def socket(self):
        return self.sockets[-1]

    def on_message(self, topic, message):
        self.got.append((topic, message))

    def second(self):
        skip_seconds(self.agent, 1)
        poll_all(self.agent)
        assert self.agent.faults == 0


def test_the_connection_has_a_will_a_subscription_and_a_whole_state():
    rig = Rig()
    packets = rig.socket.packets
    assert packets[0] == (0x10, b"\0\4MQTT\4\x26\0\x3c\0\1b\0\x13" + _STATE + b"\0\2\x91\0")
    assert packets[1] == (0x82, b"\0\1\0\x12" + _DOWN + b"\0")
    kind, body = packets[2]
    assert kind == 0x31
    boot = rig.agent.board
    assert decode(body[2 + len(_STATE) :]) == [1, list(boot.identity), boot.boot_id, 0]
    kinds = [message[0] for message in rig.socket.sent()]
    assert kinds[0] == HELLO and SYNCED in kinds
    sizes = [len(body) for kind, body in packets if kind == 0x30]
    assert min(sizes) < 128 <= max(sizes), "both lengths of a PUBLISH's head"


def test_no_frame_comes_between_the_writes_of_the_client():
    """As where a timer polls the agent in the midst of the application's call."""
    for kind in (Simple, Robust):
        rig = Rig(kind)
        rig.socket.on_write = rig.second
        before = len(rig.socket.sent())
        rig.client.publish(b"app", b"x" * 200)
        rig.client.subscribe(b"app/in")
        rig.client.unsubscribe(b"app/in")
        rig.client.ping()
        rig.second()
        assert rig.socket.published(b"app") == [b"x" * 200]
        assert len(rig.socket.sent()) > before
        assert not rig.socket.came


def test_messages_on_down_are_the_agents_and_all_others_the_applications():
    rig = Rig()
    later = []
    rig.client.set_callback(lambda topic, message: later.append(message))
    rig.socket.deliver(b"app/in", b"one")
    rig.socket.deliver(_DOWN, framed([67, 100, 1, 0, []]))
    rig.socket.deliver(b"app/in", b"two")
    for _ in range(3):
        rig.client.check_msg()
    assert later == [b"one", b"two"]
    rig.second()
    replies = [message for message in rig.socket.sent() if message[0] == REPLY]
    assert [message[2:] for message in replies] == [[1, 0, None, 100]]
    ping = framed([67, 100, 2, 0, []])
    rig.link.feed(_DOWN, ping, True)  # retained, where a client says so
    rig.link.feed(_DOWN, bytes(2000))
    assert not rig.link.readable()
    for _ in range(9):
        rig.link.feed(_DOWN, ping)
    assert rig.link.received - rig.link.used == 4


def test_a_socket_that_takes_nothing_holds_nothing_up():
    rig = Rig()
    rig.socket.is_full = True
    before = len(rig.socket.packets)
    for _ in range(3):
        rig.second()
    assert len(rig.socket.packets) == before
    assert not rig.socket.has_waited
    assert figure(rig.agent.sample, "dropped_frames") >= 2
    rig.socket.is_full = False
    rig.second()
    assert len(rig.socket.packets) > before


def test_a_write_that_fails_ends_the_frames_until_the_client_connects_again():
    for kind in (Simple, Robust, OldRobust):
        rig = Rig(kind)
        first = rig.socket
        first.fails = True
        rig.second()
        first.fails = False
        before = len(first.packets)
        rig.second()
        assert len(first.packets) == before, "frames over a connection that has failed"
        rig.client.connect() if kind is Simple else rig.client.reconnect()
        rig.second()
        assert rig.socket is not first
        kinds = [packet[0] for packet in rig.socket.packets]
        assert kinds[:3] == [0x10, 0x82, 0x31], kinds
        assert rig.socket.sent()[0][0] == HELLO


def test_robust_reconnects_in_the_midst_of_its_own_publish():
    for kind in (Robust, OldRobust):
        rig = Rig(kind)
        rig.socket.fails = True
        rig.client.publish(b"app", b"x")
        rig.second()
        assert rig.socket.published(b"app") == [b"x"]
        assert rig.socket.sent()[0][0] == HELLO
        assert len(rig.sockets) == 2


def test_a_connection_that_dies_while_it_is_joined_is_the_applications_to_find():
    for kind in (Simple, Robust, OldRobust):
        rig = Rig(kind, is_joined=False)

        def dying():
            made = FakeSocket()
            made.dies_at = 0x80
            return made

        rig.next = dying
        rig.client.connect()
        assert len(rig.sockets) == 1
        rig.second()
        rig.next = FakeSocket
        if kind is Simple:
            raises(OSError, rig.client.publish, b"app", b"x")
            rig.client.connect()
        else:
            rig.client.publish(b"app", b"x")
        rig.second()
        assert rig.socket.sent()[0][0] == HELLO


def test_a_broker_that_refuses_the_subscription_still_gets_the_frames():
    rig = Rig(is_joined=False)

    def refusing():
        made = FakeSocket()
        made.refuses = True
        return made

    rig.next = refusing
    rig.client.connect()
    rig.second()
    assert rig.socket.sent()[0][0] == HELLO
    raises(MqttError, rig.client.subscribe, b"app/in")


def test_the_board_is_offline_when_its_agent_stops_or_the_client_disconnects():
    rig = Rig()
    rig.agent.close()
    assert rig.socket.published(_STATE)[1:] == [b"\x91\0"]
    rig.agent = make_agent(board(), 1000, 1000, rig.link, (4, 300_000, 100, 5000))
    rig.second()
    assert len(rig.socket.published(_STATE)) == 3
    rig.socket.is_full = True
    rig.agent.close()
    assert not rig.socket.has_waited
    rig.socket.is_full = False
    rig.client.disconnect()
    assert rig.socket.published(_STATE)[3:] == [b"\x91\0"]
    assert rig.socket.packets[-1] == (0xE0, b"")
    before = len(rig.socket.packets)
    rig.second()
    assert len(rig.socket.packets) == before


def test_an_application_that_has_a_will_keeps_it():
    client = Simple(b"b", "broker")
    client.set_last_will(b"own", b"gone")
    MqttLink(client, "b")
    assert (client.lw_topic, client.lw_msg) == (b"own", b"gone")


def test_whose_will_a_connection_has_is_in_the_capabilities():
    rig = Rig()
    assert len(rig.agent.reasons) == _LAST_WILL + 1
    assert last_will(rig) == 0
    rig.client.set_last_will(b"own", b"gone")  # of the next connection
    rig.client.connect()
    rig.second()
    assert last_will(rig) == _OWN_WILL
    rig.client.set_last_will(rig.link.state, b"\x91\0", True)
    rig.client.connect()
    rig.second()
    assert last_will(rig) == 0
    rig.client.set_last_will(b"own", b"gone")
    rig.client.connect()
    rig.agent = make_agent(board(), 1000, 1000, rig.link)  # another one, over a connection
    rig.second()
    assert last_will(rig) == _OWN_WILL


def last_will(rig):
    """Return what the last HELLO of a connection says of the last will."""
    hello = [message for message in rig.socket.sent() if message[0] == HELLO][-1]
    return hello[8][_LAST_WILL]


def test_what_cannot_be_a_topic_and_a_connected_client_are_refused():
    for board_id in ("", "a/b", "#", "a+", "a" * 65, "ä"):
        raises(ValueError, MqttLink, Simple(b"b", "broker"), board_id)
    MqttLink(Simple(b"b", "broker"), "A" * 62 + "._-"[:2])
    client = Simple(b"b", "broker")
    client.sock = FakeSocket()
    raises(ValueError, MqttLink, client, "b")


def test_an_application_that_is_run_again_goes_on_over_the_client_that_it_makes_then():
    """Its main makes client and link anew, and calls start(), which changes nothing."""
    for kind in (Simple, Robust):
        rig = Rig(kind)
        Runner.current = make_runner(rig.agent)
        try:
            for _ in range(2):
                rig.second()
                rig.socket.fails = True
                rig.second()
                rig.client = rig.make_client(kind)
                assert MqttLink(rig.client, "b", control=True) is rig.link
                assert rig.client.lw_topic is rig.link.state
                rig.second()  # before it connects
                rig.client.connect()
                rig.second()
                kinds = [packet[0] for packet in rig.socket.packets]
                assert kinds[:3] == [0x10, 0x82, 0x31], kinds
                assert rig.socket.sent()[0][0] == HELLO
                rig.socket.deliver(b"app/in", b"one")
                rig.socket.deliver(_DOWN, framed([67, 100, len(rig.sockets), 0, []]))
                rig.client.check_msg()
                rig.client.check_msg()
                rig.second()
                assert REPLY in [message[0] for message in rig.socket.sent()]
            assert rig.got == [(b"app/in", b"one")] * 2
            assert last_will(rig) == 0
        finally:
            Runner.current = None


def test_an_application_that_is_run_again_may_give_the_client_that_it_had():
    rig = Rig()
    Runner.current = make_runner(rig.agent)
    try:
        assert MqttLink(rig.client, "b") is rig.link  # which has connected
        before = len(rig.sockets[0].packets)
        rig.client.connect()
        rig.second()
        assert rig.socket.sent()[0][0] == HELLO
        assert [kind for kind, _ in rig.socket.packets].count(0x82) == 1
        assert len(rig.sockets[0].packets) == before
        another = Simple(b"c", "broker")
        assert MqttLink(another, "c") is not rig.link
        another.sock = FakeSocket()
        raises(ValueError, MqttLink, another, "b")
        assert rig.link.client is rig.client
    finally:
        Runner.current = None


def test_a_client_that_there_was_before_is_the_applications_alone():
    """As one that is closed, or that a thread has go on, after the next one was made."""
    for kind in (Simple, Robust):
        rig = Rig(kind)
        Runner.current = make_runner(rig.agent)
        try:
            former = rig.client
            rig.client = rig.make_client(kind)
            MqttLink(rig.client, "b")
            former.connect() if kind is Simple else former.reconnect()
            socket = rig.socket
            assert former.sock is socket and rig.client.sock is None
            assert [packet[0] for packet in socket.packets] == [0x10]
            rig.client.connect()
            former.set_callback(None)
            former.disconnect()
            assert socket.packets[1:] == [(0xE0, b"")]
            rig.second()
            assert rig.socket.sent()[0][0] == HELLO
            rig.socket.deliver(b"app/in", b"one")
            rig.client.check_msg()
            assert rig.got == [(b"app/in", b"one")]
        finally:
            Runner.current = None


def test_a_thread_may_come_out_of_a_client_that_there_was_before():
    import _thread

    rig = Rig()
    Runner.current = make_runner(rig.agent)
    former, socket = rig.client, rig.socket
    inside, leave, left = [_thread.allocate_lock() for _ in range(3)]
    for lock in (inside, leave, left):
        lock.acquire()
    ends = []

    def wait():
        if rig.client is former:
            inside.release()
            leave.acquire()

    def publish():
        try:
            ends.append(former.publish(b"app", b"x"))
        except Exception as error:
            ends.append(error)
        left.release()

    def let_it_leave():
        if not ends:
            leave.release()
            left.acquire()
        rig.second()  # whose frames must not come between

    socket.on_write = wait
    _thread.start_new_thread(publish, ())
    inside.acquire()
    try:
        client = rig.make_client(Simple)
        MqttLink(client, "b")
        rig.client = client
        client.connect()
        rig.socket.on_write = let_it_leave
        rig.client.publish(b"app", b"y" * 200)
        assert ends == [None], ends
        assert rig.socket.published(b"app") == [b"y" * 200]
        rig.second()
        assert rig.socket.sent()[0][0] == HELLO
    finally:
        Runner.current = None


def test_keys_are_checked_and_control_is_without_them():
    key = bytes(range(128, 160))
    for keys in ((b"short", None), (None, "x" * 32), (key, key, True), ((), None, True)):
        raises(ValueError, MqttLink, Simple(b"b", "broker"), "b", *keys)
    for keys in ((key, None), (None, (key, key)), ((), ())):
        link = MqttLink(Simple(b"b", "broker"), "b", *keys)
        assert link.session.__name__ == "KeyedMqttSession"
        assert link.right == 1
    assert MqttLink(Simple(b"b", "broker"), "b").session.__name__ == "MqttSession"


def test_the_public_name_is_found_and_what_found_it_is_let_go():
    link = warden.MqttLink(Simple(b"b", "broker"), "b")
    assert link.right == 1
    assert not {"warden.public", "warden.mqtt_setup"} & set(sys.modules)


def test_a_tick_allocates_nothing_whatever_is_beyond_the_socket():
    rig = Rig()
    rig.second()
    rig.socket.is_counting = True
    session = rig.agent.session
    for _ in range(20):
        skip_seconds(rig.agent, 1)
        rig.agent.storage.deadline_s = 100_000  # to ask the file system takes memory
        assert session.clock.s < session.whole_s
        with no_heap():
            poll_for_sample(rig.agent)
            poll_now(rig.agent)
        assert rig.agent.faults == 0
    assert rig.socket.written > 20 * len(_UP)


async def test_a_request_is_answered_at_once_under_asyncio():
    import asyncio
    import time

    rig = Rig()
    runner = make_runner(rig.agent)
    runner.start()
    try:
        await asyncio.sleep_ms(20)
        began = time.ticks_ms()
        rig.socket.deliver(_DOWN, framed([67, 100, 1, 0, []]))
        rig.client.check_msg()
        while REPLY not in [message[0] for message in rig.socket.sent()]:
            assert time.ticks_diff(time.ticks_ms(), began) < 5000
            await asyncio.sleep_ms(5)
    finally:
        runner.stop()


def test_with_a_broker_that_reads_nothing_only_the_clients_own_write_waits():
    """Real sockets, with full buffers on both sides."""
    import _thread
    import socket
    import time

    listener = socket.socket()
    listener.setsockopt(_SOL_SOCKET, _SO_RCVBUF, 4096)
    port = free_port()
    listener.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    listener.listen(1)
    served = []

    class Client(Simple):
        def make_socket(self):
            sock = socket.socket()
            sock.setsockopt(_SOL_SOCKET, _SO_SNDBUF, 4096)
            sock.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
            served.append(listener.accept()[0])
            served[0].write(b"\x20\2\0\0" + b"\x90\3\0\1\0")
            return sock

    client = Client(b"b", "127.0.0.1", port)
    agent = make_agent(board(), 1000, 1000, MqttLink(client, "b"), (4, 300_000, 100, 5000))
    client.connect()
    late = sent = 0
    while sent != agent.session.uplink.sent or not sent:
        sent = agent.session.uplink.sent
        for _ in range(20):
            skip_seconds(agent, 1)
            for _ in range(20):
                began = time.ticks_ms()
                poll_now(agent)
                late += time.ticks_diff(time.ticks_ms(), began) >= 50
    assert figure(agent.sample, "dropped_frames") > 10
    assert late < 5, late  # by a busy machine; a link that waits does so at each turn

    def read_later():
        time.sleep_ms(300)
        while True:
            if not served[0].read(1000):
                return

    _thread.start_new_thread(read_later, ())
    began = time.ticks_ms()
    client.publish(b"app", bytes(100_000))  # more than all buffers take
    assert time.ticks_diff(time.ticks_ms(), began) >= 200
    while agent.session.uplink.sent == sent:
        assert time.ticks_diff(time.ticks_ms(), began) < 20_000
        skip_seconds(agent, 1)
        poll_all(agent)
    client.sock.close()
    listener.close()
