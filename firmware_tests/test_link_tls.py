# targets: unix
"""Connections inside TLS, by this port's own TLS: a frame arrives once, however slow the line."""

import io
import select
import ssl
from binascii import unhexlify

import harness
from frames import Chance, decode, deframed, framed
from warden.link.tls import TlsLine

# Of these tests alone: a key for P-256, and a certificate that it has signed itself.
_KEY = unhexlify(
    "30770201010420e2a4da43a3b7f8be907c11d051ba86796c30409f8749307bbc3d9346e63e820aa00a06082a"
    "8648ce3d030107a144034200040c984ce3a2b930dfe1ebbf605b5fed872593c2511429566e9606ae2dda36cb"
    "e3644182d413d611feccaa105694427e73ac096bc3e8670f33317395801e0bb2d3"
)
_CERTIFICATE = unhexlify(
    "308201753082011ba00302010202146ce47adb93c4d605a5768de97d6ac24a96673381300a06082a8648ce3d"
    "040302300f310d300b06035504030c04746573743020170d3236313132393230303331375a180f3231323631"
    "3130353230303331375a300f310d300b06035504030c04746573743059301306072a8648ce3d020106082a86"
    "48ce3d030107034200040c984ce3a2b930dfe1ebbf605b5fed872593c2511429566e9606ae2dda36cbe36441"
    "82d413d611feccaa105694427e73ac096bc3e8670f33317395801e0bb2d3a3533051301d0603551d0e041604"
    "14cdb024c698b18013db381ea9b1d2875f11139b93301f0603551d23041830168014cdb024c698b18013db38"
    "1ea9b1d2875f11139b93300f0603551d130101ff040530030101ff300a06082a8648ce3d0403020348003045"
    "022100a8123c0ed2b30f77507e1b426d18888a0991a64eea573f80d63d12d3cb1a2d35022072d6f8c46a18c1"
    "c3ab7f611cf1b26a2b5d5d78de8e81963e9eaf12da0f103bd6"
)
_POLL = 3  # requests of ioctl, and what it asks for and answers
_READ = 1
_WRITE = 4


class _End(io.IOBase):
    """One end of a line that takes `room` bytes more; None: all."""

    def __init__(self):
        self.other = None
        self.came = bytearray()
        self.room = None

    def setblocking(self, _):
        pass

    def readinto(self, buf):
        count = min(len(buf), len(self.came))
        if not count:
            return None
        buf[:count] = self.came[:count]
        self.came = self.came[count:]
        return count

    def write(self, buf):
        count = len(buf) if self.room is None else min(len(buf), self.room)
        if not count:
            return None
        if self.room is not None:
            self.room -= count
        self.other.came.extend(bytes(buf[:count]))
        return count

    def ioctl(self, request, flags):
        if request != _POLL:
            return 0
        ready = _READ if self.came else 0
        return flags & (ready | (0 if self.room == 0 else _WRITE))


class _Server:
    """What a `TlsLine` knows of its server."""

    right = 1

    def __init__(self):
        self.lines = []
        self.poller = select.poll()
        self.ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ssl_context.load_cert_chain(_CERTIFICATE, _KEY)


class _Client:
    """A host that trusts all; `text` is what came."""

    def __init__(self, end):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_mode = ssl.CERT_NONE
        self.tls = context.wrap_socket(end, do_handshake_on_connect=False)
        self.text = b""

    def read(self):
        while True:
            got = self.tls.read(64)
            if not got:
                return
            self.text += got


def _connected():
    """Return (line, the line's end, client), after the handshake."""
    near, far = _End(), _End()
    near.other, far.other = far, near
    line = TlsLine(_Server(), near, "192.0.2.1")
    client = _Client(far)
    buf = bytearray(16)
    hello = framed([64, 1, 6, 100])[:8]
    for _ in range(20):
        client.tls.write(hello)
        if line.read(buf):
            assert bytes(buf[:8]) == hello
            return line, near, client
        client.read()
    raise AssertionError("no handshake")


def test_bytes_pass_both_ways():
    line, _, client = _connected()
    assert line.write(b"xhellox", 1, 6) == 5
    client.read()
    assert client.text == b"hello"


def test_what_came_is_read_however_little_at_a_time():
    line, _, client = _connected()
    client.tls.write(b"\xc0" + bytes(range(100)))
    buf = bytearray(7)
    came = b""
    while line.readable():
        came += bytes(buf[: line.read(buf)])
    assert came.endswith(b"\xc0" + bytes(range(100)))


def test_each_frame_that_was_taken_arrives_once():
    """With a TLS that keeps what does not fit, and says that it took nothing."""
    line, end, client = _connected()
    chance = Chance(21)
    taken = []
    refused = 0
    for number in range(3000 if harness.SOAK else 400):
        end.room = chance.below(300) if chance.below(3) else 0
        frame = framed([3, number, "x" * chance.below(90)])
        count = line.write(frame, 0, len(frame))
        if count:
            assert count == len(frame)
            taken.append([3, number])
        else:
            refused += 1
    assert refused > 50 and len(taken) > 50
    end.room = None
    line.write(b"\xc0", 0, 1)
    client.read()
    payloads, _, bad = deframed(client.text)
    assert [decode(payload)[:2] for payload in payloads] == taken
    assert not bad


def test_a_connection_that_breaks_is_no_exception():
    line, end, _ = _connected()
    end.room = 0
    line.write(b"abc", 0, 3)
    end.room = None
    end.came.extend(b"no TLS at all, but much of it " * 9)
    buf = bytearray(64)
    while line.connection is not None:
        assert line.read(buf) == 0
    assert line.write(b"abc", 0, 3) == 0
