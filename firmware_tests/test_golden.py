# targets: unix frozen cpython
"""The golden vectors, which the host checks too: what was agreed on is what is said.

Not on QEMU, which has no file system to read them from.
"""

import json

from frames import decode, deframed, framed
from warden_schema.codec import put

_MAX_PAYLOAD = 200


def _golden():
    path = __file__.rsplit("/", 1)[0] + "/../shared_schema/golden.json"
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _bytes(text):
    return bytes(int(text[at : at + 2], 16) for at in range(0, len(text), 2))


def _value(plain):
    if isinstance(plain, dict):
        return _bytes(plain["bin"])
    if isinstance(plain, list):
        return [_value(item) for item in plain]
    return plain


def test_messages_are_encoded_as_agreed():
    buf = bytearray(_MAX_PAYLOAD)
    for record in _golden()["messages"]:
        end = put(buf, 0, _value(record["message"]))
        assert buf[:end] == _bytes(record["payload"]), record["name"]


def test_payloads_are_decoded_as_agreed():
    for record in _golden()["messages"]:
        payload = _bytes(record["payload"])
        assert decode(payload) == _value(record["message"]), record["name"]


def test_frames_are_made_as_agreed():
    for record in _golden()["messages"]:
        assert framed(_value(record["message"])) == _bytes(record["wire"]), record["name"]


def test_streams_are_read_as_agreed():
    for record in _golden()["streams"]:
        payloads, text, bad = deframed(_bytes(record["stream"]), _MAX_PAYLOAD)
        assert payloads == [_bytes(payload) for payload in record["payloads"]], record["name"]
        assert text == _bytes(record["text"]), record["name"]
        assert bad == record["bad"], record["name"]


def test_there_is_a_vector_of_every_kind_on_cpython():  # a board has no use for `ids`
    from warden_schema import ids

    assert ids.MAX_PAYLOAD == _MAX_PAYLOAD
    kinds = set(record["message"][0] for record in _golden()["messages"])
    assert kinds.issuperset(ids.FIELDS)
