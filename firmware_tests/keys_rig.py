"""What a host computes that proves keys, written anew: what the board's is compared with."""

import hashlib

from warden_schema.codec import put


def sha(*parts):
    """Return SHA-256 of parts, one after the other."""
    return hashlib.sha256(b"".join(parts)).digest()


def hmac(key, text):
    """Return HMAC-SHA256, from RFC 2104."""
    key = key + bytes(64 - len(key))
    inner = bytes([byte ^ 0x36 for byte in key])
    return sha(bytes([byte ^ 0x5C for byte in key]), sha(inner, text))


def mac(session_key, direction, text):
    """Return the MAC of a message and its counter."""
    return sha(session_key, direction, text)[:8]


def packed(message):
    """Return the payload of a message."""
    buf = bytearray(300)
    return bytes(buf[: put(buf, 0, list(message))])


def in_other_forms(payload):
    """Return a message's payload with its kind in each form that msgpack has, but the shortest."""
    heads = (b"\xcc", b"\xcd\x00", b"\xce\x00\x00\x00", b"\xd0", b"\xd1\x00")
    return [payload[:1] + head + payload[1:] for head in heads]
