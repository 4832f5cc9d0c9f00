"""Proves by keys who is at the other end of a link, and signs what commands and what answers it.

A layer between a link and the session, which knows nothing of it; loaded only for a link that was
given keys. docs/security.md has the handshake, docs/wire.md its frames.
"""

import os
from errno import ENOENT
from hashlib import sha256
from struct import pack_into, unpack_from

from micropython import const

from warden_schema.codec import Malformed

_CHALLENGE = const(22)
_PROVED = const(23)
_KEY_REFUSED = const(24)
_SUBSCRIBE = const(64)
_REQUEST = const(67)
_GREETING = const(68)
_PROOF = const(69)

_KEYS_VERSION = const(1)
_NEEDED = const(1)  # reasons of KEY_REFUSED, from ids
_WRONG = const(2)
_OTHER_VERSION = const(3)
_NO_RIGHT = const(4)
_NO_NONCE = const(5)

_NOBODY = const(-1)  # rights: nothing is proved
_NO_KEY = const(0)
_OBSERVE = const(1)
_CONTROL = const(2)

_KEY_BYTES = const(32)
_LEAST_DIFFERENT = const(8)  # bytes in a key
_BLOCK_BYTES = const(64)  # of SHA-256
_NONCE_BYTES = const(16)
_COUNTER_BYTES = const(4)
_MAC_BYTES = const(8)
_TRAILER_BYTES = const(12)  # counter and MAC, behind the array
_MAX_ARRAY = const(188)  # bytes, so that the trailer fits behind it
_MAX_COUNTER_HEAD = const(0x3F)  # so that a counter has 30 bits
_TELL_S = const(60)  # between two events that tell of wrong keys
# What has names or texts in it: LEASE, OPERATION, SESSION, EVENT, METER, NEED, EXCEPTION, RESTART.
_HIDDEN = const((8, 9, 10, 11, 14, 15, 18, 19))


def check_keys(keys):
    """Return the generations of a key, newest first; ValueError for what is no key of 32 bytes.

    keys: bytes, or a list or tuple of two at most. Text, bytes that are all printable, and few that
    repeat, are refused: somebody may have typed them.
    """
    if isinstance(keys, bytes):
        keys = (keys,)
    if not isinstance(keys, (tuple, list)) or len(keys) > 2:
        raise ValueError("a key is bytes, or two of them")
    for key in keys:
        if not isinstance(key, bytes) or len(key) != _KEY_BYTES:
            raise ValueError("a key has 32 bytes")
        if (min(key) >= 0x20 and max(key) < 0x7F) or len(set(key)) < _LEAST_DIFFERENT:
            raise ValueError("a key is not typed by hand")
    return tuple(keys)


def hmac(key, label, text):
    """Return HMAC-SHA256 (RFC 2104) of label ‖ text, by a key of 32 bytes; MicroPython has none."""
    block = bytearray(_BLOCK_BYTES)
    block[:_KEY_BYTES] = key
    for at in range(_BLOCK_BYTES):
        block[at] ^= 0x36
    inner = sha256(block)
    inner.update(label)
    inner.update(text)
    for at in range(_BLOCK_BYTES):
        block[at] ^= 0x36 ^ 0x5C
    outer = sha256(block)
    outer.update(inner.digest())
    return outer.digest()


def mac(key, text):
    """Return SHA-256(key ‖ text), of which a message carries the first 8 bytes as its MAC.

    HMAC, which takes twice as long, is needed where the whole hash is sent: from it anybody
    computes that of a longer text. From a quarter of it nobody can.
    """
    hash_of_both = sha256(key)
    hash_of_both.update(text)
    return hash_of_both.digest()


def differ(a, at, b, count):
    """Return 0 if a[at:at + count] equals b[:count]; takes the same time whatever differs."""
    bits = 0
    while count:
        count -= 1
        bits |= a[at + count] ^ b[count]
    return bits


def find_bytes(reader, count):
    """Return where the next item begins, bytes of that length; Malformed for anything else."""
    at = reader.at + 2
    reader.at = at + count
    if reader.at > reader.end or reader.buf[at - 2] != 0xC4 or reader.buf[at - 1] != count:
        raise Malformed
    return at


def next_boot_number(path):
    """Return a number that this file never gave before: it is written before it is used.

    OSError where it cannot be read or written, ValueError where the file holds something else.
    """
    new = path + ".new"
    number = read_number(path)
    if number is None:  # FAT removes it before the new one gets its name: the power may have gone
        number = read_number(new, "0") or 0  # an empty one: or before the first was written
    with open(new, "w") as file:
        file.write(str(number + 1))
    os.rename(new, path)
    return number + 1


def read_number(path, empty=""):
    """Return the number in a file, None where there is no such file; empty: of one, as text."""
    try:
        with open(path) as file:
            return int(file.read(16) or empty)
    except OSError as error:
        if error.errno != ENOENT:
            raise
    return None


class Peer:
    """One connection, and what was proved over it: `process()` stands before that of its session.

    host: its pass_on() takes what the peer may send; uplink: takes answers, as an `Uplink` does.
    """

    def __init__(self, host, keys, uplink):
        self.host = host
        self.keys = keys
        self.uplink = uplink
        self.right = _NOBODY
        self.has_failed = False
        self.transcript = None  # of a handshake that has begun
        self.proof = None  # the board's, for a PROOF that comes again before anything signed does
        self.receive_key = None  # the session's key and direction, once proved: of what comes
        self.send_key = None  # and of what goes
        self.received = 0  # the highest counter that came
        self.sent = 0  # the last one that went

    # --- to it ----------------------------------------------------------------------------------

    def may_have(self, kind):
        """Tell whether it may be sent this kind of message: 1, 0 for not yet, -1 for never."""
        right = self.right
        if right == _NOBODY:
            return 1 if _CHALLENGE <= kind <= _KEY_REFUSED else 0
        return -1 if right == _NO_KEY and kind in _HIDDEN else 1

    def seal(self, payload, start, end):
        """Put the next counter and the MAC behind payload[start:end]; return the new end.

        IndexError for a message that is too long, as that of `Uplink.send`.
        """
        self.sent = counter = self.sent + 1
        if counter >> 24 > _MAX_COUNTER_HEAD or end - start > _MAX_ARRAY:
            raise IndexError
        pack_into(">I", payload, end, counter)
        end += _COUNTER_BYTES
        # All of it, of which the first bytes are sent: cutting them off would take memory.
        payload[end : end + _KEY_BYTES] = mac(self.send_key, memoryview(payload)[start:end])
        return end + _MAC_BYTES

    # --- from it --------------------------------------------------------------------------------

    def process(self, reader):
        """Act on a payload of the handshake; pass another one on if the peer may send it.

        Malformed where it lacks what its peer's right demands.
        """
        kind = reader.buf[1]
        if _SUBSCRIBE <= kind <= _REQUEST:
            if self.receive_key is not None:
                self.check_trailer(reader)
            elif self.right == _NOBODY:
                if kind != _SUBSCRIBE:
                    raise Malformed
                if not self.keys.open_hosts or self.transcript is not None:
                    self.refuse(_NEEDED)
                    return
                self.right = _NO_KEY
        elif kind == _GREETING:
            self.on_greeting(reader)
            return
        elif kind == _PROOF:
            self.on_proof(reader)
            return
        self.host.pass_on(reader)  # which skips what it does not know

    def check_trailer(self, reader):
        """Check counter and MAC at the end, and take them off; Malformed if they are not right."""
        payload = reader.buf
        at = reader.end - _TRAILER_BYTES
        if at < 2 or payload[at] > _MAX_COUNTER_HEAD:
            raise Malformed
        counter = unpack_from(">I", payload, at)[0]
        reader.end = at
        at += _COUNTER_BYTES
        expected = mac(self.receive_key, memoryview(payload)[:at])
        if differ(payload, at, expected, _MAC_BYTES) or counter <= self.received:
            raise Malformed
        self.received = counter
        self.proof = None

    # --- the handshake --------------------------------------------------------------------------

    def refuse(self, reason):
        """Tell the peer why it gets nothing, and listen to it no more, or to another GREETING."""
        if self.has_failed:
            return
        self.has_failed = reason != _NO_RIGHT
        uplink = self.uplink
        uplink.begin(_KEY_REFUSED, 1)
        uplink.put(reason)
        uplink.send()

    def on_greeting(self, reader):
        """Answer a GREETING by a CHALLENGE."""
        if self.has_failed or self.right != _NOBODY:
            return
        reader.at = 2
        version = reader.integer()
        right = reader.integer()
        if version != _KEYS_VERSION:
            self.refuse(_OTHER_VERSION)
            return
        at = find_bytes(reader, _NONCE_BYTES)
        nonce = reader.buf[at : at + _NONCE_BYTES]
        if (right != _OBSERVE and right != _CONTROL) or not self.keys.generations[right]:
            self.refuse(_NO_RIGHT)
            return
        board = self.keys.server.agent.board
        unique_id = board.identity[3]
        head = bytes((version, right, len(unique_id))) + unique_id
        head += board.boot_id.to_bytes(4, "big") + nonce
        if self.transcript is None or self.transcript[: len(head)] != head:
            try:
                self.transcript = head + self.keys.make_nonce()
            except (AttributeError, NameError, OSError, ValueError):  # no files, or not a number
                self.refuse(_NO_NONCE)
                return
        uplink = self.uplink
        uplink.begin(_CHALLENGE, 4)
        uplink.put(_KEYS_VERSION)
        uplink.put(unique_id)
        uplink.put(board.boot_id)
        uplink.put(self.transcript[-_NONCE_BYTES:])
        uplink.send()

    def on_proof(self, reader):
        """Compare a PROOF, with both generations of the key, and answer it by PROVED."""
        if self.receive_key is None:
            if self.has_failed or self.transcript is None:
                return
            places = []
            reader.at = 2
            for _ in range(min((reader.buf[0] & 0x0F) - 1, 2)):
                places.append(find_bytes(reader, _KEY_BYTES))
            right = self.transcript[1]
            found = None
            for key in self.keys.generations[right]:
                expected = hmac(key, b"host", self.transcript)
                for at in places:
                    if not differ(reader.buf, at, expected, _KEY_BYTES):
                        found = key
            if found is None:
                self.refuse(_WRONG)
                self.keys.server.on_wrong(self)
                return
            self.proof = hmac(found, b"board", self.transcript)
            session_key = hmac(found, b"session", self.transcript)
            self.receive_key = session_key + b"h"
            self.send_key = session_key + b"b"
            self.right = right
            self.transcript = None
            self.keys.server.on_proved(self)
        if self.proof is not None:
            uplink = self.uplink
            uplink.begin(_PROVED, 1)
            uplink.put(self.proof)
            uplink.send()


class Keys:
    """The keys of a link, by right.

    key, control_key: see `check_keys`, or None; open_hosts: whether hosts without one see figures;
    server: what serves the hosts, whose on_proved() and on_wrong() are called when a peer has
    proved a key, and when it had a wrong one.
    """

    def __init__(self, key, control_key, open_hosts):
        self.generations = (
            (),
            check_keys(() if key is None else key),
            check_keys(() if control_key is None else control_key),
        )
        self.open_hosts = open_hosts
        self.server = None
        self.boot_number = None  # where the port has no random numbers
        self.nonces = 0
        self.wrong = 0  # wrong keys that no event has told of
        self.told_s = None  # when the last event did

    def make_nonce(self):
        """Return 16 bytes that this board never used: random, or made of a number in flash."""
        if hasattr(os, "urandom"):
            return os.urandom(_NONCE_BYTES)
        if self.boot_number is None:
            self.boot_number = next_boot_number(self.server.agent.board.path + ".nonce")
        self.nonces += 1
        count = self.boot_number.to_bytes(4, "big") + self.nonces.to_bytes(4, "big")
        key = (self.generations[_CONTROL] or self.generations[_OBSERVE])[0]
        return hmac(key, b"nonce", count)[:_NONCE_BYTES]

    def tell_wrong(self, address):
        """Post an event for a wrong key from this address, once a minute at most."""
        self.wrong += 1
        agent = self.server.agent
        now_s = agent.clock.s
        if self.told_s is not None and now_s - self.told_s < _TELL_S:
            return
        self.told_s = now_s
        if agent.policy is not None:
            agent.policy.events.post("key", None, address, self.wrong)
        self.wrong = 0
