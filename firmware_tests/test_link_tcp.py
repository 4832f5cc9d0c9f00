# targets: unix frozen
"""Links over TCP, on real sockets: one host at a time, nothing waits, breaks are survived."""

import select
import socket
import time
from errno import EAGAIN

from frames import framed
from harness import no_heap, raises
from rig import free_port
from warden.link.tcp import ClientLink, ServerLink


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
    link = ServerLink(port, "127.0.0.1")
    link.open()
    return link


def _listen(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    sock.listen(1)
    return sock


class Received:
    """Reads a link and keeps what came."""

    def __init__(self, link):
        self.link = link
        self.data = b""
        self._buf = bytearray(16)

    def read(self):
        count = self.link.read(self._buf)
        self.data += bytes(self._buf[:count]).replace(b"\xc0", b"")
        return self.data


def test_a_server_reads_and_writes():
    port = free_port()
    link = _serve(port)
    received = Received(link)
    assert received.read() == b""
    assert link.write(b"nobody", 0, 6) == 0
    host = _dial(port)
    host.send(b"hello")
    _until(lambda: received.read() == b"hello", "hello")
    assert link.write(b"xxanswer", 2, 8) == 6
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


def test_a_host_that_is_dropped_makes_room_for_the_next():
    port = free_port()
    link = _serve(port)
    received = Received(link)
    lost = _dial(port)
    lost.send(b"1")
    _until(lambda: received.read() == b"1")
    link.drop()
    assert lost.recv(1) == b""
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


def _is_closed(sock, received):
    """Tell whether the link has closed a connection."""
    received.read()
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except OSError as error:
        return error.errno != EAGAIN


def test_a_second_host_is_turned_away():
    port = free_port()
    link = _serve(port)
    received = Received(link)
    first = _dial(port)
    first.send(b"1")
    _until(lambda: received.read() == b"1")
    link.keep_place()
    second = _dial(port)
    _until(lambda: _is_closed(second, received), "the second one's end")
    first.send(b"2")
    _until(lambda: received.read() == b"12")
    second.close()
    first.close()
    link.close()


def test_only_frames_of_a_host_keep_a_place():
    """Bytes do not, and one that subscribed and is silent loses it after three seconds."""
    port = free_port()
    link = _serve(port)
    received = Received(link)
    for subscribed, silent_ms in ((False, 1001), (True, 3001)):
        dead = _dial(port)  # as a host that loses its power: its connection stays
        _until(lambda: received.read() == b"" and link._connection is not None)
        if subscribed:
            link.keep_place()
        link._seen_ms = time.ticks_add(time.ticks_ms(), -silent_ms)
        dead.send(b"noise")
        _until(lambda: received.read() == b"noise")
        host = _dial(port)
        host.send(b"alive")
        _until(lambda: received.read() == b"noisealive")
        assert dead.recv(1) == b""
        assert link.write(b"to it", 0, 5) == 5
        assert host.recv(5) == b"to it"
        received.data = b""
        dead.close()
        host.close()
        _until(lambda: received.read() == b"" and link._connection is None, "the end")
    link.close()


def test_the_next_one_waits_while_another_may_still_subscribe():
    port = free_port()
    link = _serve(port)
    received = Received(link)
    first = _dial(port)
    _until(lambda: received.read() == b"" and link._connection is not None)
    second = _dial(port)
    second.send(b"2")
    for _ in range(20):
        link._seen_ms = time.ticks_ms()  # it has only just come
        assert received.read() == b""
        time.sleep_ms(1)
    first.send(b"1")
    _until(lambda: received.read() == b"1")
    link._seen_ms = time.ticks_add(time.ticks_ms(), -1001)
    _until(lambda: received.read() == b"12", "the second one")
    for sock in (first, second, link):
        sock.close()


def test_a_connection_that_begins_with_no_frame_is_closed():
    """A scrape, a modem's command: whoever waits behind it is let in at once."""
    port = free_port()
    link = _serve(port)
    received = Received(link)
    for first in (b"GET /metrics HTTP/1.1\r\n", b"AT\r\n", b"A"):
        stranger = _dial(port, first)
        host = _dial(port)
        host.send(b"1")
        _until(lambda: received.read() == b"1", first)
        assert _is_closed(stranger, received)
        received.data = b""
        stranger.close()
        host.close()
        _until(lambda: received.read() == b"" and link._connection is None, "the end")
    link.close()


def test_a_server_listens_from_open_on():
    """An application that is run again makes a second one, while the first listens."""
    port = free_port()
    link = _serve(port)
    again = ServerLink(port, "127.0.0.1")
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
    _until(lambda: received.read() == b"" and link._connection is not None)
    link.keep_place()
    link._seen_ms = time.ticks_add(time.ticks_ms(), 86_400_000)
    host = _dial(port)
    host.send(b"1")
    _until(lambda: received.read() == b"1")
    for sock in (dead, host, link):
        sock.close()
    client = ClientLink("127.0.0.1", port)
    client._tried_ms = time.ticks_add(time.ticks_ms(), 86_400_000)
    assert client.readable()
    client.close()


def test_a_client_drops_a_silent_host():
    port = free_port()
    listener = _listen(port)
    link = ClientLink("127.0.0.1", port)
    received = Received(link)
    received.read()
    dead = listener.accept()[0]
    dead.send(b"\xc01")
    _until(lambda: received.read() == b"1")
    link.keep_place()
    assert not link.readable()
    link._seen_ms = time.ticks_add(time.ticks_ms(), -30_001)
    link._tried_ms = time.ticks_add(time.ticks_ms(), -30_001)
    assert link.readable()  # else nothing would read it
    received.read()
    assert dead.recv(1) == b""
    received.read()
    host = listener.accept()[0]
    host.send(b"\xc02")
    _until(lambda: received.read() == b"12")
    for sock in (dead, host, listener, link):
        sock.close()


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
        took = link.write(data, 0, 1000)
        total += took
        if not took:
            break
    assert took == 0, total
    soonest = 1_000_000
    for _ in range(20):  # one that waits does so each time; a busy machine, now and then
        began = time.ticks_us()
        link.write(data, 0, 1000)  # by now the network may have made some room
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
        link.write(b"y" * 100, 0, 100)
        return link._broken

    _until(broken, "the break")
    received.read()
    host = _dial(port)
    host.send(b"b")
    _until(lambda: received.read().endswith(b"b"))
    host.close()
    link.close()


def test_a_client_connects_and_exchanges_bytes():
    port = free_port()
    listener = _listen(port)
    link = ClientLink("127.0.0.1", port)
    received = Received(link)
    received.read()
    host = listener.accept()[0]
    host.send(framed([6, 1]))
    _until(lambda: received.read() == framed([6, 1]).replace(b"\xc0", b""))
    assert link.write(b"hello", 0, 5) == 5
    assert host.recv(5) == b"hello"
    host.close()
    listener.close()
    link.close()


def test_a_client_without_a_host_does_not_block():
    link = ClientLink("127.0.0.1", free_port())
    received = Received(link)
    began = time.ticks_ms()
    for _ in range(50):
        received.read()
        assert link.write(b"x", 0, 1) == 0
    assert time.ticks_diff(time.ticks_ms(), began) < 1000
    link.close()


def test_a_client_tries_again_after_its_host_has_gone():
    port = free_port()
    listener = _listen(port)
    link = ClientLink("127.0.0.1", port)
    received = Received(link)
    received.read()
    host = listener.accept()[0]
    host.send(b"\xc01")
    _until(lambda: received.read() == b"1")
    host.close()
    _until(lambda: received.read() and link._connection is None, "the end")
    link._tried_ms = time.ticks_add(time.ticks_ms(), -5001)  # five seconds later
    received.read()
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    assert poller.poll(5000)
    host = listener.accept()[0]
    host.send(b"\xc02")
    _until(lambda: received.read() == b"12")
    host.close()
    listener.close()
    link.close()
