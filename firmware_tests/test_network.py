# targets: unix frozen
"""Bytes of real sockets are counted; a WLAN (a fake: none can be here) is found and read."""

import asyncio
import select
import socket
import sys
from array import array

from figures import figure, put_figure
from harness import no_heap
from rig import free_port
from warden.counted_socket import CountedSocket
from warden.setup import make_sample, watch_network


def _read(network, s):
    """Have it read with a sample at this uptime; return whether others are known, and the sample.

    The same sample each time, as the agent has it.
    """
    put_figure(_sample, "uptime_s", s)
    changed = network.read(_sample.figures)
    return changed, (figure(_sample, "connected"), figure(_sample, "rssi_dbm"))


_sample = make_sample()


def _forget():
    _sample.figures = make_sample().figures


def _bytes(network):
    """Return the bytes sent and received, as a sample has them."""
    sample = make_sample()
    network.read(sample.figures)
    return figure(sample, "sent_bytes"), figure(sample, "received_bytes")


def _pair(network):
    """Return a counted socket connected over loopback to a plain one."""
    port = free_port()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    listener.listen(1)
    near = socket.socket()
    near.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    far = listener.accept()[0]
    listener.close()
    return CountedSocket(near, network), far


def test_bytes_are_counted_both_ways():
    network = watch_network()
    assert _bytes(network) == (None, None)
    near, far = _pair(network)
    near.send(b"12345")
    near.write(b"678")
    assert far.recv(8) == b"12345678"
    far.send(b"abcd\nefghijkl")
    assert near.recv(2) == b"ab"
    buf = bytearray(2)
    assert near.readinto(buf) == 2
    assert near.readline() == b"\n"
    assert near.read(8) == b"efghijkl"
    near.close()
    far.close()
    assert _bytes(network) == (8, 13)


def test_text_and_arrays_count_in_bytes_whichever_function_sends_them():
    network = watch_network()
    near, far = _pair(network)
    near.send(b"")
    sent = 0
    senders = [near.send, near.write]
    if hasattr(far, "sendall"):  # the unix port had none before
        senders.append(near.sendall)
    samples = array("H", (1, 2, 3))
    for data, size in (("é", 2), (samples, 6), (memoryview(samples)[1:], 4), (b"", 0), (b"abc", 3)):
        for send in senders:
            send(data)
            sent += size
            assert _bytes(network)[0] == sent, (send, data)
    near.close()
    far.close()


def test_what_a_file_of_the_socket_reads_and_writes_is_counted():
    """As in the web servers of many tutorials."""
    network = watch_network()
    near, far = _pair(network)
    far.send(b"GET / HTTP/1.0\r\n")
    file = near.makefile("rwb", 0)
    assert file.readline() == b"GET / HTTP/1.0\r\n"
    file.write(b"HTTP/1.0 200 OK\r\n")
    file.close()
    far.close()
    assert _bytes(network) == (17, 16)


def test_counts_begin_anew_before_they_would_have_to_be_allocated():
    network = watch_network()
    near, far = _pair(network)
    network.sent = network.received = (1 << 30) - 3
    near.send(b"12345")
    far.send(b"1234567")
    assert near.recv(7) == b"1234567"
    near.close()
    far.close()
    assert _bytes(network) == (2, 4)


def test_poll_takes_a_counted_socket():
    network = watch_network()
    near, far = _pair(network)
    poller = select.poll()
    poller.register(near, select.POLLIN)
    assert poller.poll(0) == []
    far.send(b"x")
    ready = poller.poll(1000)
    assert ready and ready[0][1] & select.POLLIN
    near.close()
    far.close()


async def test_asyncio_streams_take_a_counted_socket():
    network = watch_network()
    near, far = _pair(network)
    near.setblocking(False)
    stream = asyncio.StreamReader(near)
    far.send(b"hello\n")
    assert await stream.readline() == b"hello\n"
    stream.write(b"answer")
    await stream.drain()
    assert far.recv(6) == b"answer"
    near.close()
    far.close()
    assert _bytes(network) == (6, 6)


class FakeWlan:
    """Stands in for `network.WLAN` (docs.micropython.org/en/latest/library/network.WLAN.html)."""

    IF_STA = 0
    IF_AP = 1

    def __init__(self, interface=0):
        self.connected = False
        self.strength = -61

    def isconnected(self):
        return self.connected

    def status(self, what=None):
        if what == "rssi":
            if self.strength is None:
                raise ValueError("unknown status param")
            return self.strength
        return 0

    def fail(self):
        raise OSError(5)


class FakeNetworkModule:
    WLAN = FakeWlan
    STA_IF = 0
    AP_IF = 1


def _with_fake_module():
    sys.modules["network"] = FakeNetworkModule()
    network = watch_network()
    assert network.available
    assert watch_network() is network  # a second agent finds the first one's
    _forget()
    return network


def test_a_wlan_made_later_is_found_and_read():
    network = _with_fake_module()
    import network as module

    access_point = module.WLAN(module.AP_IF)
    assert network.wlan is None
    assert _read(network, 0) == (True, (None, None))
    wlan = module.WLAN(module.STA_IF)
    assert isinstance(wlan, FakeWlan) and access_point is not wlan
    assert module.WLAN.IF_STA == 0
    assert _read(network, 9) == (False, (None, None))  # it asks the radio every ten seconds
    assert _read(network, 10) == (True, (0, None))
    wlan.connected = True
    assert _read(network, 19) == (False, (0, None))
    assert _read(network, 20) == (True, (1, -61))
    wlan.strength = None
    assert _read(network, 30) == (True, (1, None))
    wlan.isconnected = wlan.fail
    assert _read(network, 40) == (True, (None, None))
    del sys.modules["network"]


def test_reading_allocates_nothing():
    network = _with_fake_module()
    network.wlan = FakeWlan()
    network.wlan.connected = True
    with no_heap():
        network.read(_sample.figures)
        put_figure(_sample, "uptime_s", 20)
        network.read(_sample.figures)
    assert figure(_sample, "rssi_dbm") == -61
    del sys.modules["network"]


def test_no_radio_is_started_by_looking():
    network = _with_fake_module()
    assert _read(network, 0) == (True, (None, None))
    assert network.wlan is None
    del sys.modules["network"]


def test_without_the_module_nothing_is_claimed():
    network = watch_network()
    assert not network.available
    _forget()
    assert _read(network, 0) == (True, (None, None))
    assert _bytes(network) == (None, None)


def test_the_next_sample_says_that_bytes_are_counted():
    network = watch_network()
    assert _read(network, 0)[0]
    assert not _read(network, 1)[0]
    near, far = _pair(network)
    assert _read(network, 2)[0]
    assert (figure(_sample, "sent_bytes"), figure(_sample, "received_bytes")) == (0, 0)
    near.close()
    far.close()


def test_all_names_can_be_imported():
    network = _with_fake_module()
    names = {}
    exec("from network import *", names)
    assert isinstance(names["WLAN"](names["STA_IF"]), FakeWlan) and network.wlan is not None
    assert names["AP_IF"] == 1 and type(sys.modules["network"]) is type(sys)
    del sys.modules["network"]


def test_a_strength_that_is_no_number_is_not_known():
    network = _with_fake_module()
    network.wlan = FakeWlan()
    network.wlan.connected = True
    for strength, rssi_dbm in ((-61.5, -61), ("strong", None), ((), None)):
        network.wlan.strength = strength
        network.deadline_s = 0
        assert _read(network, 0) == (True, (1, rssi_dbm)), strength
    del sys.modules["network"]
