# targets: unix frozen
"""Links over streams: a UART says how much there is, others are read byte by byte; none waits."""

import io
import socket
import time

from frames import decode, deframed, framed
from harness import no_heap
from rig import free_port
from warden.link.stream import StreamLink
from warden.uplink import Uplink

_POLL = 3  # of a stream's ioctl


class Uart(io.IOBase):
    """Stands in for `machine.UART`: `any()` tells how much has arrived, perhaps less than all.

    A real one would wait for what is not there; this one fails.
    """

    def __init__(self, limit=None):
        self.arrived = b""
        self.limit = limit
        self.reads = 0

    def any(self):
        there = len(self.arrived)
        return there if self.limit is None else min(there, self.limit)

    def readinto(self, buf, count=None):
        count = len(buf) if count is None else count
        assert 0 < count <= len(self.arrived), "it would wait"
        buf[:count] = self.arrived[:count]
        self.arrived = self.arrived[count:]
        self.reads += 1
        return count

    def write(self, buf, start, count):
        return count

    def ioctl(self, request, arg):
        return arg if request == _POLL else 0


def _read_all(link, room=32):
    found = b""
    buf = bytearray(room)
    while True:
        count = link.read(buf)
        if not count:
            return found
        assert len(buf) == room
        found += bytes(buf[:count])


def test_what_has_arrived_at_a_uart_is_read_at_once():
    uart = Uart()
    link = StreamLink(uart)
    assert link.read(bytearray(32)) == 0
    assert uart.reads == 0
    frame = framed([67, 77, 0, 0, []])
    uart.arrived = frame
    assert _read_all(link) == frame
    assert uart.reads == 1


def test_more_than_there_is_room_for_and_a_uart_that_tells_only_of_one():
    data = bytes(range(100))
    for limit in (None, 1, 7):
        uart = Uart(limit)
        uart.arrived = data
        assert _read_all(StreamLink(uart)) == data
        assert _read_all(StreamLink(uart)) == b""


def test_has_input_reads_nothing():
    near, far = _joined()
    link = StreamLink(near)
    assert not link.readable()  # the first look makes what the next ones use
    with no_heap():
        assert not link.readable()
    far.write(b"x")
    deadline = time.ticks_add(time.ticks_ms(), 10_000)
    while not link.readable():
        assert time.ticks_diff(deadline, time.ticks_ms()) > 0, "waited too long"
    assert link.read(bytearray(8)) == 1
    assert not link.readable()
    link.close()
    assert not link.readable()
    far.close()
    near.close()


def test_a_closed_link_reads_nothing():
    uart = Uart()
    link = StreamLink(uart)
    uart.arrived = b"x"
    link.close()
    assert link.waitable is None
    assert link.read(bytearray(4)) == 0


def _joined():
    """Return two sockets that are joined; the first is a stream without any()."""
    port = free_port()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    address = socket.getaddrinfo("127.0.0.1", port)[0][-1]
    listener.bind(address)
    listener.listen(1)
    near = socket.socket()
    near.connect(address)
    far = listener.accept()[0]
    listener.close()
    return near, far


def _until_read(link, count):
    found = b""
    deadline = time.ticks_add(time.ticks_ms(), 10_000)
    while len(found) < count:
        assert time.ticks_diff(deadline, time.ticks_ms()) > 0, "waited too long"
        found += _read_all(link, 8)
    return found


def test_another_stream_is_read_as_far_as_it_goes_until_its_end():
    near, far = _joined()
    link = StreamLink(near)
    assert link.read(bytearray(8)) == 0
    far.write(b"some of it")
    assert _until_read(link, 10) == b"some of it"
    buf = bytearray(8)
    with no_heap():
        link.read(buf)
    assert link.waitable is near
    far.close()
    deadline = time.ticks_add(time.ticks_ms(), 10_000)
    while link.waitable is not None:
        assert time.ticks_diff(deadline, time.ticks_ms()) > 0, "its end was not seen"
        assert link.read(buf) == 0
    assert link.read(buf) == 0
    near.close()


class UsbCdc(io.IOBase):
    """Stands in for stdout of a port with TinyUSB, as shared/tinyusb/mp_usbd_cdc.c has it.

    It takes 64 bytes at a time, waits half a second for room for them, and gives up where there is
    none then (since 1.27 it waits once for all). The host holds the port open, and reads when the
    test says so.
    """

    def __init__(self):
        self.buffered = b""
        self.waited_ms = 0

    def room(self):
        return 256 - len(self.buffered)

    def ioctl(self, request, arg):
        if request != _POLL:
            return -1  # it has no file's number, say
        return arg if self.room() else 0

    def write(self, buf, start, count):
        done = 0
        while done < count:
            part = min(64, count - done)
            if part > self.room():
                self.waited_ms += 500
                time.sleep_ms(500)
                part = min(part, self.room())
                if not part:
                    break
            self.buffered += bytes(buf[start + done : start + done + part])
            done += part
        return done

    def read(self):
        found, self.buffered = self.buffered, b""
        return found


def _send(uplink, count):
    uplink.begin(7, 1)
    uplink.put(b"x" * count)
    return uplink.send()


def test_a_host_that_holds_a_usb_port_open_and_does_not_read_stops_nothing():
    for count in (5, 60):
        usb = UsbCdc()
        uplink = Uplink(StreamLink(usb))
        sent = 0
        for _ in range(20):
            sent += _send(uplink, count)
            uplink.begin(6, 0)
            sent += uplink.send(0)
        assert usb.waited_ms == 0, count
        found = usb.read()
        while not uplink.ready():  # the rest of the last one
            pass
        uplink.acknowledge(sent - 1)
        assert _send(uplink, count)
        payloads = deframed(found + usb.read(), 200)[0]
        assert [decode(each)[1] for each in payloads] == list(range(sent + 1))
        assert usb.waited_ms == 0


def test_what_the_application_prints_where_nobody_reads_has_one_frame_wait_at_most():
    usb = UsbCdc()
    uplink = Uplink(StreamLink(usb))
    usb.write(b"p" * 200, 0, 200)  # into the same buffer
    sent = 0
    for _ in range(20):
        sent += _send(uplink, 60)
    assert (sent, usb.waited_ms) == (1, 1000)  # for its first 64 bytes, and for its last
    found = usb.read()[200:]
    while not uplink.ready():  # what was not taken of it
        pass
    assert _send(uplink, 60)
    payloads = deframed(found + usb.read(), 200)[0]
    assert [decode(each)[1] for each in payloads] == [0, 1]
    assert usb.waited_ms == 1000
