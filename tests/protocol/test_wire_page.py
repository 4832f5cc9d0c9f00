"""docs/wire.md is enough: a decoder made of its tables alone reads the golden vectors.

Nothing of boardwarden or of the schema is used for it: frames and msgpack are written here anew, as
somebody would who has the page.
"""

from __future__ import annotations

import json
import re
import runpy
from typing import Any

import pytest
from places import REPO

from warden_schema import ids

PAGE = (REPO / "docs" / "wire.md").read_text(encoding="utf-8")
GOLDEN = json.loads((REPO / "shared_schema" / "golden.json").read_text(encoding="utf-8"))


class Page:
    """What the page's tables say."""

    def __init__(self, text: str) -> None:
        self.text = text
        escaped = re.search(r"the control bytes `([0-9A-F ]+)`", text)
        assert escaped is not None
        self.controls = bytes.fromhex(escaped[1])
        self.kinds: dict[int, tuple[str, list[str]]] = {}
        for cells in (*self.table("kind | name | fields"), *self.table("kind | name | fields", 1)):
            fields = re.split(r"[:,] then|:", cells[2])[0]
            names = [re.sub(r" \(.*", "", name).strip() for name in fields.split(",")]
            self.kinds[int(cells[0])] = (cells[1], names)
        self.requests = {
            int(cells[0]): cells[1]
            for cells in self.table("operation | name | arguments")
            if cells[1]
        }
        self.values = [cells[1] for cells in self.table("place | value | bit")]
        self.bits = {int(c[2]): c[1] for c in self.table("place | value | bit") if c[2]}
        self.lists = {c[0]: c[1].split(", ") for c in self.table("list | names in order")}
        self.metrics = {cells[1]: cells[2] for cells in self.table("metric | name | unit")}
        self.capabilities = [cells[1] for cells in self.table("place | capability")]
        self.mqtt_capabilities = [cells[1] for cells in self.table("place | of a link over MQTT")]
        self.reasons = {int(c[0]): c[1] for c in self.table("reason | meaning")}
        self.events = {cells[0]: cells[1] for cells in self.table("kind | subject, detail, value")}
        self.tiers = [(int(c[1]), int(c[2])) for c in self.table("tier | seconds a slot")]
        self.numbers = {c[0]: int(c[1]) for c in self.table("name | number | what")}

    def table(self, head: str, place: int = 0) -> list[list[str]]:
        """Return the cells of the table whose head begins so; place: of several such."""
        after = self.text.split(f"| {head}")[place + 1]
        rows = re.match(r"[^\n]*\n\|[- :|]+\|\n((?:\|[^\n]*\n)+)", after)
        assert rows is not None, head
        return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows[1].splitlines()]


PAGE_SAYS = Page(PAGE)


def _crc(data: bytes) -> int:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def payload_of(wire: bytes) -> bytes:
    """Return what is in one frame."""
    assert wire[0] == wire[-1] == 0xC0
    body, plain, at = wire[1:-1], bytearray(), 0
    assert not any(byte in PAGE_SAYS.controls for byte in body)
    while at < len(body):
        escape = body[at] == 0x7D
        plain.append(body[at + 1] ^ 0x20 if escape else body[at])
        at += 1 + escape
    assert _crc(bytes(plain[:-2])) == int.from_bytes(plain[-2:], "big")
    return bytes(plain[:-2])


def unpacked(data: bytes, at: int = 0) -> tuple[Any, int]:
    """Return the msgpack item at a place, of the page's subset, and where the next one is."""
    first, at = data[at], at + 1
    if first < 0x80 or first >= 0xE0:
        return (first if first < 0x80 else first - 256), at
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if 0xCC <= first <= 0xD3:
        size = 1 << (first & 3)
        return int.from_bytes(data[at : at + size], "big", signed=first >= 0xD0), at + size
    if 0xA0 <= first <= 0xBF or first in (0xD9, 0xC4):
        length = first & 0x1F if first <= 0xBF else data[at]
        at += first > 0xBF
        raw = data[at : at + length]
        return (raw if first == 0xC4 else raw.decode()), at + length
    assert 0x90 <= first <= 0x9F or first == 0xDC, hex(first)
    count = first & 0x0F
    if first == 0xDC:
        count, at = int.from_bytes(data[at : at + 2], "big"), at + 2
    items = []
    for _ in range(count):
        item, at = unpacked(data, at)
        items.append(item)
    return items, at


def plain(value: Any) -> Any:
    """Return a golden message's value, its bins as bytes."""
    if isinstance(value, dict):
        return bytes.fromhex(value["bin"])
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("vector", GOLDEN["messages"], ids=lambda vector: vector["name"])
def test_a_decoder_made_of_the_page_reads_each_golden_message(vector: dict[str, Any]) -> None:
    message, end = unpacked(payload_of(bytes.fromhex(vector["wire"])))
    assert end == len(bytes.fromhex(vector["payload"]))
    assert message == plain(vector["message"])
    if message[0] not in PAGE_SAYS.kinds:
        assert vector["name"] == "a kind and fields of a later version"
        return
    name, fields = PAGE_SAYS.kinds[message[0]]
    assert getattr(ids, name) == message[0]
    expected = ids.FIELDS[message[0]]
    assert tuple(fields[: len(expected)]) == expected
    if message[0] == ids.REQUEST:
        assert PAGE_SAYS.requests[message[3]]


def test_the_pages_tables_are_those_of_the_schema() -> None:
    tool = runpy.run_path(str(REPO / "tools" / "wire_tables.py"))
    assert tool["written"](PAGE) == PAGE, "python tools/wire_tables.py"


def test_the_page_has_every_kind_request_list_and_number() -> None:
    for kind, fields in ids.FIELDS.items():
        name, found = PAGE_SAYS.kinds[kind]
        assert (getattr(ids, name), tuple(found[: len(fields)])) == (kind, fields)
    assert {getattr(ids, name) for name in PAGE_SAYS.requests.values()} == set(PAGE_SAYS.requests)
    assert tuple(PAGE_SAYS.values) == ids.SAMPLE_VALUES
    assert tuple(PAGE_SAYS.bits[bit] for bit in range(len(PAGE_SAYS.bits))) == ids.DELTA_VALUES
    for name, found in PAGE_SAYS.lists.items():
        assert tuple(found) == getattr(ids, name), name
    tuples = {name for name, value in vars(ids).items() if isinstance(value, tuple)}
    elsewhere = {"SAMPLE_VALUES", "DELTA_VALUES", "CAPABILITIES", "MQTT_CAPABILITIES", "TIERS"}
    assert tuples - elsewhere - set(PAGE_SAYS.lists) == {"DEFAULT_THRESHOLD", "RESET_CAUSES"}
    assert PAGE_SAYS.metrics == ids.THRESHOLD_METRICS
    assert tuple(PAGE_SAYS.capabilities) == ids.CAPABILITIES
    assert tuple(PAGE_SAYS.mqtt_capabilities) == ids.MQTT_CAPABILITIES
    assert PAGE_SAYS.reasons == ids.REASONS
    assert PAGE_SAYS.events == ids.EVENT_KINDS
    assert tuple(PAGE_SAYS.tiers) == ids.TIERS
    for name, number in PAGE_SAYS.numbers.items():
        assert getattr(ids, name) == number, name
    assert PAGE_SAYS.controls == ids.ESCAPED_CONTROLS
