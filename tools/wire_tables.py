"""Writes the tables of names and numbers into docs/wire.md, from the schema.

    python tools/wire_tables.py

tests/protocol/test_wire_page.py fails when they differ, and makes a decoder of the page alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "shared_schema"))

from warden_schema import ids  # noqa: E402

PAGE = REPO / "docs" / "wire.md"
BEGIN = "<!-- from warden_schema/ids.py: python tools/wire_tables.py -->\n"
END = "<!-- end of what tools/wire_tables.py writes -->\n"
_NOTE = re.compile(r'^    "(\w+)",?(?:  # (.*))?$', re.MULTILINE)
# What counts from 0 in the order of its names, and what it is for.
_LISTS = {
    "IDENTITY": "`identity` of HELLO",
    "LIMITS": "`limits` of HELLO",
    "LIMITS_SET": "`limits` of ROWS, arguments and value of SET_LIMITS",
    "RESOURCES": "`resource` of LEASE and ALLOCATE",
    "PRIORITIES": "`priority`",
    "OPERATION_STATES": "`state` of OPERATION and of BEGIN's value",
    "LEVELS": "`level` of THRESHOLD and RESTART",
    "ACTIONS": "`action` of THRESHOLD and SET_THRESHOLD",
    "METER_KINDS": "`kind` of METER",
    "EXCEPTION_KINDS": "`kind` of EXCEPTION",
    "HANG_STEPS": "the subject of the event `hang`",
    "AGENT_WRITES": "`writes` of STORAGE",
    "METRICS": "`metric` of HISTORY_READ",
    "STATISTICS": "`statistic` of HISTORY_READ",
    "RIGHTS": "`right` of GREETING",
    "KEEPING": "`what` of KEEP",
    "KEPT": "the state in KEEP's value",
}
_NUMBERS = (
    ("MAX_NAME", "bytes of a name, an owner, a text, a mount; longer ones are cut at a character"),
    ("MAX_LEASES", "rows of LEASE"),
    ("MAX_OPERATION_ROWS", "rows of OPERATION"),
    ("MAX_SESSIONS", "rows of SESSION"),
    ("MAX_THRESHOLDS", "rows of THRESHOLD"),
    ("MAX_METERS", "rows of METER"),
    ("MAX_NEEDS", "rows of NEED"),
    ("MAX_EXCEPTIONS", "rows of EXCEPTION"),
    ("MAX_RESETS", "rows of RESTART"),
    ("MAX_MOUNTS", "rows of STORAGE"),
    ("MAX_EVENTS", "events that a board remembers"),
    ("MAX_QUOTAS", "quotas that a board holds"),
    ("MAX_PENDING", "requests under way"),
    ("RESET_INFERRED", "bit of `flags` of RESTART: the board inferred the cause"),
    ("RESET_EXPECTED", "bit of `flags` of RESTART: nothing is wrong with it"),
    ("KEEPALIVE_MS", "ms between two KEEPALIVEs"),
    ("SILENCE_MS", "ms without a frame of the host after which the board is silent"),
    ("HOST_SESSION_MS", "ms after which what a host was granted ends"),
    ("DEFAULT_TTL_MS", "ms of a lease whose ALLOCATE names none"),
    ("NO_VALUE", "in a column of history: there is no value"),
)  # fmt: skip


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
    yield ""


def _notes() -> Mapping[str, str]:
    """Return what the schema's comments say of SAMPLE_VALUES."""
    source = (REPO / "shared_schema" / "warden_schema" / "ids.py").read_text(encoding="utf-8")
    block = source.partition("SAMPLE_VALUES = (")[2].partition("\n)")[0]
    return dict(_NOTE.findall(block))


def lines() -> Iterator[str]:
    """Yield the lines between the marks."""
    notes = _notes()
    yield "`SAMPLE_VALUES`, the `values` of a SAMPLE in order, and their bits in a DELTA's `mask`:"
    yield ""
    bits = {name: bit for bit, name in enumerate(ids.DELTA_VALUES)}
    values = enumerate(ids.SAMPLE_VALUES)
    yield from _table(
        ("place", "value", "bit", "note"),
        ((place, name, bits.get(name, ""), notes.get(name, "")) for place, name in values),
    )
    yield "Names that are numbers on the wire, counted from 0:"
    yield ""
    yield from _table(
        ("list", "names in order", "where"),
        ((name, ", ".join(getattr(ids, name)), where) for name, where in _LISTS.items()),
    )
    yield "`THRESHOLD_METRICS`, the `metric` of THRESHOLD and SET_THRESHOLD, and its unit:"
    yield ""
    metrics = enumerate(ids.THRESHOLD_METRICS.items())
    yield from _table(("metric", "name", "unit"), ((n, *each) for n, each in metrics))
    yield "`TIERS` of HISTORY_READ:"
    yield ""
    tiers = enumerate(ids.TIERS)
    yield from _table(("tier", "seconds a slot", "slots"), ((n, *each) for n, each in tiers))
    yield "`CAPABILITIES`, the bytes of HELLO's `capabilities` in order:"
    yield ""
    yield from _table(("place", "capability"), enumerate(ids.CAPABILITIES))
    yield "`MQTT_CAPABILITIES`, behind these from a board whose link is over MQTT:"
    yield ""
    places = enumerate(ids.MQTT_CAPABILITIES, len(ids.CAPABILITIES))
    yield from _table(("place", "of a link over MQTT"), places)
    yield "`REASONS`, what such a byte says:"
    yield ""
    yield from _table(("reason", "meaning"), ids.REASONS.items())
    yield "`EVENT_KINDS`, the `kind` of EVENT, a text; what is not here is of a later version:"
    yield ""
    yield from _table(("kind", "subject, detail, value"), ids.EVENT_KINDS.items())
    yield "Numbers:"
    yield ""
    yield from _table(("name", "number", "what"), ((n, getattr(ids, n), w) for n, w in _NUMBERS))


def written(page: str) -> str:
    """Return the page with the tables of this schema."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n".join(lines()) + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
