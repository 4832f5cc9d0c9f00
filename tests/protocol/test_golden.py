"""The golden vectors, made by the board's code, checked with the host's: msgpack and binascii."""

from __future__ import annotations

import codecs
import json
import subprocess
import sys
from typing import Any

import msgpack
import pytest
from places import REPO

from boardwarden._protocol import messages
from boardwarden._protocol.link import Deframer, frame
from warden_schema import ids

GOLDEN = REPO / "shared_schema" / "golden.json"
_FILE = json.loads(GOLDEN.read_text(encoding="utf-8"))


def _of(kind: str) -> Any:
    return pytest.mark.parametrize(
        "record", [pytest.param(record, id=record["name"]) for record in _FILE[kind]]
    )


def _value(plain: Any) -> Any:
    if isinstance(plain, dict):
        return bytes.fromhex(plain["bin"])
    return [_value(item) for item in plain] if isinstance(plain, list) else plain


@_of("messages")
def test_a_golden_message_is_read_and_written(record: dict[str, Any]) -> None:
    message, payload = _value(record["message"]), bytes.fromhex(record["payload"])
    assert msgpack.packb(message) == payload
    assert frame(payload).hex() == record["wire"]
    decoded = messages.decode(payload)
    assert decoded is not None
    assert decoded == [*message, *[None] * (len(decoded) - len(message))]  # left out


@_of("streams")
def test_a_golden_stream_is_read(record: dict[str, Any]) -> None:
    deframer = Deframer()
    items = deframer.feed(bytes.fromhex(record["stream"]))
    text = "".join(item for item in items if isinstance(item, str))
    assert [item.hex() for item in items if isinstance(item, bytes)] == record["payloads"]
    # A character that is not finished is not certain: the deframer waits for its rest.
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    assert text == decoder.decode(bytes.fromhex(record["text"]))
    assert deframer.bad == record["bad"]


def test_golden_vectors_cover_every_kind_the_host_sends() -> None:
    records = {record["name"]: bytes.fromhex(record["payload"]) for record in _FILE["messages"]}
    host = 0x0C0D0A7D
    assert messages.subscribe(host) == records["subscribe today"]
    assert messages.unsubscribe(2**29) == records["unsubscribe"]
    assert messages.keepalive(host, 65_535) == records["keepalive"]
    assert messages.request(host, 0, ids.PING, ()) == records["ping"]
    assert messages.request(host, 2, ids.HISTORY_READ, (2, 3, 1)) == records["read history"]


def test_the_golden_file_equals_its_generators_output() -> None:
    code = "import make_golden; print(make_golden.golden(), end='')"
    made = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPO / "tools",
        capture_output=True,
        check=True,
        encoding="utf-8",
        env={"PYTHONIOENCODING": "utf-8"},
    ).stdout
    assert made == GOLDEN.read_text(encoding="utf-8")
