# targets: unix frozen
"""Links over TCP, on real sockets: who is let in, nothing waits, breaks are survived."""

import select
import socket
import time
from errno import EAGAIN

import warden
from frames import decode, deframed, framed
from harness import no_heap, raises
from rig import board, free_port
from warden.hosts import Hosts
from warden.link.tcp import ServerLink
from warden.setup import make_agent

_REFUSED = 2


def _until(condition, what="it"):
    deadline = time.ticks_add(time.ticks_ms(), 10_000)
    while not condition():
        assert time.ticks_diff(deadline, time.ticks_ms()) > 0, "waited too long for " + what
        time.sleep_ms(1)


def _dial(port, first=b"\xc0"):
    sock = socket.socket()
    sock.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    sock.send(first)  # what a host sends begins with a frame's delimiter
    return sock


def _serve(port):
    link = ServerLink(port, "127.0.0.1", False)
    link.open()
    return link


class Received:
    """Reads a link, of a server each of its connections, and keeps what came."""

    def __init__(self, link):
        self.link = link
        self.data = b""
        self._buf = bytearray(16)

    def read(self):
        link = self.link
        if not isinstance(link, ServerLink):
            self._read(link)
            return self.data
        for line in list(link.lines):
            self._read(line)
        if link.has_caller():
            link.accept()
        return self.data

    def _read(self, line):
        count = line.read(self._buf)
        self.data += bytes(self._buf[:count]).replace(b"\xc0", b"")


class Served:
    """An agent that listens on a port; the tests are its hosts."""

    def __init__(self):
        self.port = free_port()
        self.link = ServerLink(self.port, "127.0.0.1", False)
        self.link.session = Hosts
        self.link.open()
        self.agent = make_agent(board(), 600_000, 1000, self.link, None)
        self.agent.governor.host_us = 1 << 28  # time is not what these tests are about

    def poll(self):
        self.agent.clock.poll_now = True
        self.agent.poll()
        assert self.agent.faults == 0
        return self

    def ids(self):
        return [host.host_id for host in self.poll().agent.session.hosts]

    def subscribe(self, host_id):
        """Return a socket over which a host has subscribed."""
        sock = _dial(self.port, framed([64, 1, 6, host_id]))
        _until(lambda: host_id in self.ids(), "the host")
        return sock

    def is_closed(self, sock):
        """Tell whether the agent has closed a connection; what it sent is lost."""
        self.poll()
        sock.setblocking(False)
        try:
            return sock.recv(100) == b""
        except OSError as error:
            return error.errno != EAGAIN

    def age(self, place, ms):
        """Have a connection be silent for so long."""
        host = self.agent.session.hosts[place]
        host.link._seen_ms = time.ticks_add(time.ticks_ms(), -ms)
        host.deadline_s -= ms // 1000
        host.deadline_ms -= ms % 1000


def test_a_server_reads_and_writes():
    port = free_port()
    link = _serve(port)
    received = Received(link)
    assert received.read() == b""
    host = _dial(port)
    host.send(b"hello")
    _until(lambda: received.read() == b"hello", "hello")
    assert link.lines[0].address == "127.0.0.1"
    assert link.lines[0].write(b"xxanswer", 2, 8) == 6
    assert host.recv(6) == b"answer"
    host.close()
    link.close()


def test_has_input_is_true_for_bytes_and_for_a_new_connection():
    port = free_port()
    link = _serve(port)
    received = Received(link)
    assert not link.readable()
    host = _dial(port, b"")
    _until(link.readable, "the knock")
    received.read()
    assert not link.readable()
    host.send(b"\xc01")
    _until(link.readable, "a byte")
    assert received.read() == b"1"
    assert not link.readable()
    with no_heap():
        link.readable()
    host.close()
    _until(link.readable, "the end")
    received.read()
    assert not link.readable()
    link.close()


def test_a_connection_that_is_dropped_is_closed_and_forgotten():
    port = free_port()
    link = _serve(port)
    received = Received(link)
    lost = _dial(port)
    lost.send(b"1")
    _until(lambda: received.read() == b"1")
    link.lines[0].drop()
    assert lost.recv(1) == b"" and link.lines == []
    host = _dial(port)
    host.send(b"2")
    _until(lambda: received.read() == b"12")
    for sock in (lost, host, link):
        sock.close()


def test_the_next_host_comes_in_when_the_first_has_gone():
    port = free_port()
    link = _serve(port)
    received = Received(link)
    for text in (b"one", b"two", b"six"):
        received.data = b""
        host = _dial(port)
        host.send(text)
        _until(lambda text=text: received.read() == text, text)
        host.close()
    link.close()


def test_a_fourth_host_is_told_who_has_the_places_and_turned_away():
    served = Served()
    hosts = [served.subscribe(number) for number in (1, 2, 3)]
    fourth = _dial(served.port, framed([64, 1, 6, 4]) + framed([64, 1, 6, 4]))
    poller = select.poll()
    poller.register(fourth, select.POLLIN)
    _until(lambda: served.poll() and poller.poll(0), "the refusal")
    refusal = decode(deframed(fourth.recv(200), 200)[0][0])
    places = [[number, "127.0.0.1"] for number in (1, 2, 3)]
    del refusal[3]  # the minor version
    assert refusal == [_REFUSED, 0, 1, 4, places], refusal
    _until(lambda: served.is_closed(fourth), "the fourth one's end")
    assert served.ids() == [1, 2, 3]
    hosts[1].close()
    _until(lambda: served.ids() == [1, 3], "the second one's end")
    served.subscribe(5).close()
    for sock in (hosts[0], hosts[2], fourth, served.link):
        sock.close()


def test_only_frames_of_a_host_keep_a_place():
    """Bytes do not, and one that subscribed and is silent loses it after three seconds."""
    served = Served()
    first = served.subscribe(1)
    for host_id, silent_ms in ((0, 1001), (2, 3001)):
        dead = _dial(served.port) if not host_id else served.subscribe(2)  # it loses its power
        _until(lambda host_id=host_id: served.ids() == [1, host_id])
        served.age(1, silent_ms)
        dead.send(b"noise")
        host = served.subscribe(9)
        _until(lambda: served.ids() == [1, 9])
        _until(lambda dead=dead: served.is_closed(dead), "the end")
        for sock in (dead, host):
            sock.close()
        _until(lambda: served.ids() == [1])
    first.close()
    served.link.close()


def test_the_next_one_waits_while_another_may_still_subscribe():
    served = Served()
    first = _dial(served.port)
    _until(lambda: served.ids() == [0])
    second = _dial(served.port, framed([64, 1, 6, 2]))
    for _ in range(20):
        served.age(0, 0)  # it has only just come
        assert served.ids() == [0]
        time.sleep_ms(1)
    first.send(framed([64, 1, 6, 1]))
    _until(lambda: served.ids() == [1, 2])
    third = _dial(served.port)
    fourth = _dial(served.port, framed([64, 1, 6, 4]))
    _until(lambda: served.ids() == [1, 2, 0])
    served.age(2, 1001)
    _until(lambda: served.ids() == [1, 2, 4], "the one that waited")
    for sock in (first, second, third, fourth, served.link):
        sock.close()


def test_many_that_never_subscribe_keep_no_host_out():
    served = Served()
    crowd = [_dial(served.port, first) for first in (b"", b"GET /", b"\xc0", b"\x00")]
    host = _dial(served.port, framed([64, 1, 6, 1]))

    def is_in():
        for place in range(len(served.ids())):
            served.age(place, 1001 if not served.agent.session.hosts[place].host_id else 0)
        return 1 in served.ids()

    _until(is_in, "the host")
    assert len(served.ids()) <= 2
    for sock in crowd + [host, served.link]:
        sock.close()


def test_what_says_nothing_makes_the_next_one_wait_for_a_quarter_of_a_second():
    served = Served()
    silent = _dial(served.port, b"")
    _until(lambda: served.ids() == [0])
    host = _dial(served.port, framed([64, 1, 6, 1]))
    served.age(0, 50)
    assert served.ids() == [0]
    served.age(0, 251)
    served.poll()
    served.poll()  # at once, not when a second is over
    assert served.ids() == [1]
    silent.close()
    begun = _dial(served.port, b"\xc0")  # a host's first byte
    _until(lambda: served.ids() == [1, 0])
    next_one = _dial(served.port, framed([64, 1, 6, 2]))
    served.age(1, 500)
    assert served.ids() == [1, 0]
    served.age(1, 1001)
    _until(lambda: served.ids() == [1, 2])
    for sock in (begun, host, next_one, served.link):
        sock.close()


def test_a_connection_that_begins_with_no_frame_is_closed():
    """A scrape, a modem's command: whoever waits behind it is let in at once."""
    served = Served()
    for first in (b"GET /metrics HTTP/1.1\r\n", b"AT\r\n", b"A"):
        stranger = _dial(served.port, first)
        host = served.subscribe(1)
        assert served.is_closed(stranger)
        stranger.close()
        host.close()
        _until(lambda: served.ids() == [], "the end")
    served.link.close()


def test_a_server_listens_from_open_on():
    """An application that is run again makes a second one, while the first listens."""
    port = free_port()
    link = _serve(port)
    again = ServerLink(port, "127.0.0.1", False)
    raises(OSError, again.open)
    again.close()
    host = _dial(port)
    host.send(b"1")
    received = Received(link)
    _until(lambda: received.read() == b"1")
    link.open()  # it listens already
    host.close()
    link.close()
    again.open()
    again.close()


def test_ticks_that_wrap_lock_nobody_out():
    """After six days they seem to go back: no host waits for what was before."""
    port = free_port()
    link = _serve(port)
    received = Received(link)
    dead = _dial(port)
    _until(lambda: received.read() == b"" and link.lines)
    assert link.lines[0].is_fresh()
    link.lines[0]._seen_ms = time.ticks_add(time.ticks_ms(), 86_400_000)
    assert not link.lines[0].is_fresh()
    dead.close()
    link.close()


def test_a_host_that_does_not_read_is_never_waited_for():
    port = free_port()
    link = _serve(port)
    received = Received(link)
    host = _dial(port)
    host.send(b"x")
    _until(received.read)
    data = bytes(1000)
    total = 0
    for _ in range(20_000):
        took = link.lines[0].write(data, 0, 1000)
        total += took
        if not took:
            break
    assert took == 0, total
    soonest = 1_000_000
    for _ in range(20):  # one that waits does so each time; a busy machine, now and then
        began = time.ticks_us()
        link.lines[0].write(data, 0, 1000)  # by now the network may have made some room
        soonest = min(soonest, time.ticks_diff(time.ticks_us(), began))
    assert soonest < 5000, soonest
    host.close()
    link.close()


def test_a_connection_that_breaks_while_writing_is_replaced():
    port = free_port()
    link = _serve(port)
    received = Received(link)
    host = _dial(port)
    host.send(b"a")
    _until(received.read)
    host.close()

    def broken():
        link.lines[0].write(b"y" * 100, 0, 100)
        return link.lines[0].broken

    _until(broken, "the break")
    assert link.readable()  # else nothing would close it
    received.read()
    assert link.lines == []
    host = _dial(port)
    host.send(b"b")
    _until(lambda: received.read().endswith(b"b"))
    host.close()
    link.close()


def test_what_is_no_place_in_a_network_is_refused_where_the_link_is_made():
    for port in ("80", None, 80.0, True):
        raises(TypeError, warden.TcpServer, port)
    for port in (-1, 65_536):
        raises(ValueError, warden.TcpServer, port)
    for host in (None, 5, b"127.0.0.1"):
        raises(TypeError, warden.TcpServer, 80, host)
    raises(TypeError, warden.TcpServer, 80, ssl_context=5)


def test_what_is_no_link_is_refused_by_start():
    for link in (5, 0, "", b"", [], True, warden.TcpServer):
        raises(TypeError, warden.start, link=link)
        raises(RuntimeError, warden.status)
