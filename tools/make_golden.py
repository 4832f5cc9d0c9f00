"""Write shared_schema/golden.json: messages and streams, and the bytes that stand for them.

    python tools/make_golden.py

The board's own codec and framing make the bytes; tests/protocol/test_golden.py checks them with
msgpack and binascii, firmware_tests/test_golden.py on MicroPython. Bytes are hexadecimal; a bin
inside a message is {"bin": "…"}. Run it when the protocol grows, and look at what changed: what a
released version says must never change.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "shared_schema"))

from warden_schema import codec, frame, ids  # noqa: E402

GOLDEN = REPO / "shared_schema" / "golden.json"
KEYS = REPO / "shared_schema" / "keys.json"

_IDENTITY = ["Раздвижная плата", "1.28.0", "rp2", bytes(range(8)), "power_on", "0.1.0"]
_LIMITS = [ids.MAX_PAYLOAD, ids.MAX_REQUEST, ids.MAX_PENDING, ids.MAX_MOUNTS]
_CAPABILITIES = bytes([0, 9, 2, 3, 3, 3, 4, 0, 7, 7, 8, 0, 0, 1])
_HOST = 0x0C0D0A7D  # each byte of it is escaped on the wire
_FULL = [86_400, 999, 1000, 240_000, 100_000, 90_000, 65_535, 1000, 2, 30, 7, 2, 1, -71]
_FULL += [2**32, 2**32 - 1, 10, 80, 3, 0, 1]

_NONCES = (bytes(range(16)), bytes(range(16, 32)))  # of the host, of the board
_SECRET = hashlib.sha256(b"boardwarden: a secret for vectors only").digest()
_UNIQUE_ID = bytes.fromhex("e660583883724a32")
_BOOT_ID = 123_456_789

MESSAGES: dict[str, list[Any]] = {
    "hello": [ids.HELLO, 1, 1, 0, _HOST, 2**30 - 1, _IDENTITY, _LIMITS, _CAPABILITIES],
    "hello of a small board": [
        *(ids.HELLO, 0, 1, 0, 1, 0),
        *(["mps2-an385", "1.26.0", "qemu", b"", None, "0.1.0"], _LIMITS, _CAPABILITIES),
    ],
    "refused": [ids.REFUSED, 0, 2, 3, _HOST, None],
    "refused for want of a place": [
        *(ids.REFUSED, 0, 1, 6, _HOST),
        [[1, "10.0.0.2"], [2**29, "192.168.178.100"], [_HOST, "fe80::1"]],
    ],
    "sample": [ids.SAMPLE, 2, _FULL],
    "sample of a board that can tell little": [ids.SAMPLE, 65_535, [0, 0, 1000] + [None] * 18],
    "delta": [ids.DELTA, 21, 49, 0b1000011, 48, 48 - 4096, 51, 47],
    "delta of all that it can tell": [ids.DELTA, 0, 48 + 3, 0x3FF, 48 - 1000, *range(44, 54)],
    "storage": [ids.STORAGE, 3, 0, 1, "/", 4096, 512, 400, 390, None],
    "storage with the agent's files": [ids.STORAGE, 3, 0, 1, "/", 4096, 512, 9, 8, [7, 1, 300, 0]],
    "storage with nothing mounted": [ids.STORAGE, 4, 0, 0, *[None] * 6],
    "synced": [ids.SYNCED, 5, _HOST],
    "alive": [ids.ALIVE, 6],
    "asleep": [ids.ASLEEP, 7],
    "challenge": [ids.CHALLENGE, 8, ids.KEYS_VERSION, _UNIQUE_ID, _BOOT_ID, _NONCES[1]],
    "proved": [ids.PROVED, 9, bytes(range(100, 132))],
    "key refused": [ids.KEY_REFUSED, 10, ids.NEEDED],
    "greeting": [ids.GREETING, ids.KEYS_VERSION, ids.CONTROL, _NONCES[0]],
    "proof": [ids.PROOF, bytes(range(200, 232))],
    "proof of two generations": [ids.PROOF, bytes(range(32)), bytes(range(32, 64))],
    "reply": [ids.REPLY, 7, 0, ids.OK, None],
    "reply on one stream for all hosts": [ids.REPLY, 7, 0, ids.OK, None, _HOST],
    "reply that failed": [ids.REPLY, 8, 65_535, ids.FAILED, "MemoryError"],
    "reply to keep": [ids.REPLY, 10, 10, ids.OK, [1, 2]],
    "reply with a quota": [ids.REPLY, 11, 11, ids.OK, ["upload", 65_536, None, 2, 60_000]],
    "reply that nothing can be kept": [
        *(ids.REPLY, 12, 12, ids.DENIED),
        ["keep:no_files", None, None, []],
    ],
    "reply with history": [ids.REPLY, 9, 3, ids.OK, [60, 1, 256, bytes(range(120))]],
    "lease": [ids.LEASE, 10, 3, 7, 0, 8192, "ota", 2, 1, 86_400, 59_000, False, None],
    "lease of storage without end": [
        *(ids.LEASE, 11, 15, 2**29, 1, 2**30 - 1, "", 0, None, 0, None, True, "/sd"),
    ],
    "operation": [ids.OPERATION, 12, 0, 5, "flash", 3, 1, 420, "½", 2, 60, 30_000, 4096, None],
    "operation that must stop": [
        *(ids.OPERATION, 13, 11, 6, "x", 0, 2, 0, "", None, 0, 2000, None, "preempted"),
    ],
    "session": [ids.SESSION, 14, 7, 9, "host 77", 65_536, None, 2, 10_000],
    "event": [ids.EVENT, 15, 300, "lease", 86_400, 999, 7, "expired", 8192],
    "event about nothing": [ids.EVENT, 16, 0, "denied", 0, 0, None, "memory", None],
    "rows": [ids.ROWS, 19, 0xFFFF, 0, 1, [4, 300_000, 100, 5000], 0xFF, 0xFFFF, 3],
    "event of a policy": [ids.EVENT, 21, 1, "policy", 0, 3, None, "in force", None],
    "event of the agent": [ids.EVENT, 22, 302, "agent", 86_402, 0, None, "late", 2500],
    "event with a value": [ids.EVENT, 20, 301, "threshold", 86_401, 0, 0, "critical", 912],
    "threshold": [ids.THRESHOLD, 21, 0, 0, 750, 900, 650, 1000, 1, 2, 912],
    "falling threshold": [ids.THRESHOLD, 22, 7, 13, -70, None, -60, 0, 0, 0, None],
    "meter of a task": [ids.METER, 23, 0, 1, "uploader", 0, 1, 300, 25, 90, 7],
    "meter of a thread": [ids.METER, 24, 15, 2, "reader", 1, 1, None, None, None, None],
    "need": [ids.NEED, 25, 7, "flash", 12, 4096, 8192],
    "system heap": [ids.SYSTEM_HEAP, 26, 62_480, 31_744, 41_012],
    "exception": [
        *(ids.EXCEPTION, 27, 4, 9, 0, "sensor", 3, 86_402),
        b"app.py:6 sensor\nOSError: [Errno 5] EIO\n",
    ],
    "reset": [
        *(ids.RESTART, 28, 9, 10, "exception", 1, 3, 77, 86_402, "flash", 51_200, 30_720, 84, 1),
        b"app.py:6 main\nOSError: [Errno 5] EIO\n",
    ],
    "reset of which little is known": [
        *(ids.RESTART, 29, 0, 1, None, 2, 1, 1, None, None, None, None, None, None, None),
    ],
    "reply that denies": [ids.REPLY, 18, 4, ids.DENIED, ["memory", 4096, None, [3, 9]]],
    "allocate": [ids.REQUEST, _HOST, 3, ids.ALLOCATE, [0, 8192, "ota", 2, 60_000, None]],
    "set limits": [ids.REQUEST, _HOST, 5, ids.SET_LIMITS, [4, None, None, None]],
    "set threshold": [
        *(ids.REQUEST, _HOST, 6, ids.SET_THRESHOLD),
        [0, 750, 900, 650, 1000, ids.ACTIONS.index("protect")],
    ],
    "cancel": [ids.REQUEST, _HOST, 7, ids.CANCEL, [5]],
    "tell meters": [ids.REQUEST, _HOST, 8, ids.TELL_METERS, [5000]],
    "collect": [ids.REQUEST, _HOST, 9, ids.COLLECT, []],
    "keep": [ids.REQUEST, _HOST, 10, ids.KEEP, [1]],
    "read a quota": [ids.REQUEST, _HOST, 11, ids.QUOTA, [7]],
    "set a quota": [ids.REQUEST, _HOST, 12, ids.SET_QUOTA, ["upload", 65_536, None, 2, 60_000]],
    "take a quota away": [ids.REQUEST, _HOST, 13, ids.SET_QUOTA, ["Wächter", *[None] * 4]],
    "begin": [ids.REQUEST, _HOST, 4, ids.BEGIN, ["flash", 2, 30_000, None, 0]],
    "subscribe": [ids.SUBSCRIBE, 1, 0, _HOST],
    "subscribe today": [ids.SUBSCRIBE, ids.PROTOCOL_MAJOR, ids.PROTOCOL_MINOR, _HOST],
    "subscribe from an event on": [ids.SUBSCRIBE, 1, 1, _HOST, 300],
    "unsubscribe": [ids.UNSUBSCRIBE, 2**29],
    "keepalive": [ids.KEEPALIVE, _HOST, 65_535],
    "ping": [ids.REQUEST, _HOST, 0, ids.PING, []],
    "start monitoring": [ids.REQUEST, _HOST, 65_535, ids.START_MONITORING, [600_000]],
    "read history": [ids.REQUEST, _HOST, 2, ids.HISTORY_READ, [2, 3, 1]],
    "integers": [
        ids.ALIVE,
        0,
        [0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1],
    ],
    "negative integers": [
        *(ids.ALIVE, 0),
        [-1, -32, -33, -128, -129, -32_768, -32_769, -(2**31), -(2**31) - 1, -(2**63)],
    ],
    "a kind and fields of a later version": [63, 10, True, False, None, [[1, ["x"]]]],
}


def payload_of(message: list[Any]) -> bytes:
    """Return the message as the board encodes it."""
    buf = bytearray(ids.MAX_PAYLOAD + 48)
    return bytes(buf[: codec.put(buf, 0, message)])


def framed(payload: bytes) -> bytes:
    """Return the payload as the board frames it."""
    wire = bytearray(2 * len(payload) + 8)
    length = frame.encode(bytearray(payload + bytes(2)), len(payload), wire)
    return bytes(wire[:length])


def streams() -> dict[str, bytes]:
    """Return what a line may carry, whole and damaged."""
    one, two = (framed(payload_of([ids.ALIVE, seq])) for seq in (1, 0x0D))
    long = framed(b"\x91" + bytes(ids.MAX_PAYLOAD))
    return {
        "text, frame, text": b"caf\xc3\xa9\r\n" + one + b">>> ",
        "two frames": one + two,
        "two frames with one delimiter between them": one + two[1:],
        "many delimiters": b"\xc0\xc0\xc0" + one + b"\xc0\xc0" + two,
        "a delimiter in text": b"a\xc0b" + one,
        "a flipped bit": one[:2] + bytes([one[2] ^ 1]) + one[3:] + two,
        "a frame without its end": one[:-2] + two,
        "a frame without its end, then text": one[:-2] + b"\r\n>>> " + two,
        "a frame without its begin": one[1:] + two,
        "an escape before the end": one[:-1] + b"}\xc0" + two,
        "only delimiters and a first byte": b"\xc0\x91\xc0" + two,
        "a payload that is too long": long + one,
    }


def read(stream: bytes) -> dict[str, Any]:
    """Return what the board's deframer makes of a stream, in hexadecimal."""
    deframer = frame.Deframer(ids.MAX_PAYLOAD)
    payloads, text = [], bytearray()
    for at in range(len(stream)):
        deframer.feed(stream, at, at + 1)
        if deframer.length:
            payloads.append(bytes(deframer.payload[: deframer.length]).hex())
        elif not deframer.opened and not deframer.in_frame:
            text.append(stream[at])
    return {"stream": stream.hex(), "payloads": payloads, "text": text.hex(), "bad": deframer.bad}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bin": value.hex()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def golden() -> str:
    """Return the file's text."""
    messages = []
    for name, message in MESSAGES.items():
        payload = payload_of(message)
        wire = framed(payload).hex()
        record = {"name": name, "message": _plain(message), "payload": payload.hex(), "wire": wire}
        messages.append(json.dumps(record, ensure_ascii=False))
    damaged = [json.dumps({"name": name, **read(data)}) for name, data in streams().items()]
    parts = [",\n".join(messages), ",\n".join(damaged)]
    return f'{{"messages": [\n{parts[0]}\n],\n"streams": [\n{parts[1]}\n]}}\n'


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def _signed(key: bytes, direction: bytes, counter: int, message: list[Any]) -> str:
    text = payload_of(message) + counter.to_bytes(ids.COUNTER_BYTES, "big")
    return (text + hashlib.sha256(key + direction + text).digest()[: ids.MAC_BYTES]).hex()


def key_vectors() -> dict[str, dict[str, str]]:
    """Return what docs/security.md computes, by right, with Python's own HMAC, in hexadecimal."""
    found = {}
    for right in (ids.OBSERVE, ids.CONTROL):
        name = ids.RIGHTS[right]
        key = _hmac(_SECRET, name.encode() + _UNIQUE_ID)
        head = bytes((ids.KEYS_VERSION, right, len(_UNIQUE_ID))) + _UNIQUE_ID
        transcript = head + _BOOT_ID.to_bytes(4, "big") + b"".join(_NONCES)
        session = _hmac(key, b"session" + transcript)
        found[name] = {
            "secret": _SECRET.hex(),
            "unique_id": _UNIQUE_ID.hex(),
            "key": key.hex(),
            "boot_id": str(_BOOT_ID),
            "host_nonce": _NONCES[0].hex(),
            "board_nonce": _NONCES[1].hex(),
            "transcript": transcript.hex(),
            "host_proof": _hmac(key, b"host" + transcript).hex(),
            "board_proof": _hmac(key, b"board" + transcript).hex(),
            "session_key": session.hex(),
            "request": _signed(session, b"h", 1, [ids.REQUEST, 77, 0, ids.PING, []]),
            "reply": _signed(session, b"b", 1, [ids.REPLY, 9, 0, ids.OK, None]),
        }
    return found


if __name__ == "__main__":
    GOLDEN.write_text(golden(), encoding="utf-8")
    KEYS.write_text(json.dumps(key_vectors(), indent=1) + "\n", encoding="utf-8")
    print(GOLDEN, KEYS)
