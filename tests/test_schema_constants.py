"""The board's hot files redeclare the schema's constants (`const` folds in its own file only).

Here they are held equal: a name that both sides have must have one value.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from warden_schema import frame, ids

REPO = Path(__file__).resolve().parent.parent
_CONST = re.compile(r"^_([A-Z0-9_]+) = const\((.+)\)(?:  #.*)?$", re.MULTILINE)
# Names of the board's own that happen to be the schema's too, with the reason.
_OTHER_MEANING = {
    ("history", "METRICS"): "how many there are",
    ("history", "TIERS"): "how many there are",
    ("capabilities", "STORAGE"): "its place; compared below",
    ("columns", "STORAGE"): "a metric of the history",
    **{(file, "STORAGE"): "a resource, not a message" for file in ("leases", "policy", "sessions")},
    ("frame", "DELIMITER"): "compared below",
    ("frame", "ESCAPE"): "compared below",
}


def _constants(file: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, value in _CONST.findall(file.read_text()):  # some are made of others
        others = {f"_{other}": known for other, known in found.items()}
        found[name] = eval(value, {"__builtins__": {}}, others)
    return found


FILES = sorted([*(REPO / "device/warden").glob("*.py"), *Path(ids.__file__).parent.glob("*.py")])
SHARED = [
    (file.stem, name, value)
    for file in FILES
    for name, value in _constants(file).items()
    if isinstance(getattr(ids, name, None), int) and (file.stem, name) not in _OTHER_MEANING
]


@pytest.mark.parametrize(("file", "name", "value"), SHARED)
def test_a_name_that_both_have_has_one_value(file, name, value):
    assert value == getattr(ids, name), f"{file}: _{name}"


def test_there_are_such_names():
    assert len(SHARED) > 30
    assert {"host_session", "tables", "capabilities", "uplink"} <= {file for file, _, _ in SHARED}


def test_every_place_of_a_sample_is_the_schemas():
    places = _constants(REPO / "device/warden/sampler.py")
    for place, name in enumerate(ids.SAMPLE_VALUES):
        assert places[name.upper()] == place
    assert places["VALUES"] == len(ids.SAMPLE_VALUES)


def test_every_capability_has_its_place():
    places = _constants(REPO / "device/warden/capabilities.py")
    for place, name in enumerate(ids.CAPABILITIES):
        assert places[name.upper()] == place
    assert places["PLACES"] == len(ids.CAPABILITIES)


def test_history_has_the_schemas_shape():
    source = (REPO / "device/warden/columns.py").read_text()
    assert f"_STEPS = {tuple(step for step, _ in ids.TIERS)}" in source
    assert f"_SLOTS = {tuple(slots for _, slots in ids.TIERS)}" in source
    for module in ("history", "columns"):
        assert _constants(REPO / f"device/warden/{module}.py")["METRICS"] == len(ids.METRICS)
        assert _constants(REPO / f"device/warden/{module}.py")["NONE"] == ids.NO_VALUE
    assert _constants(REPO / "device/warden/forecast.py")["METRICS"] == len(ids.METRICS)
    report = (REPO / "device/warden/report.py").read_text()
    assert "_METRICS = (" + ", ".join(f'"{name}"' for name in ids.METRICS) + ")" in report


def test_each_kind_field_list_names_its_first_fields():
    for kind, fields in ids.FIELDS.items():
        assert fields[0] == ("seq" if kind < ids.FIRST_HOST_KIND else fields[0])
        assert len(fields) <= 14  # a payload is a fixarray: at most 15 items with the kind


def test_the_escaped_bytes_are_the_documented_ones():
    inner = _constants(Path(frame.__file__))
    assert inner["DELIMITER"] == frame.DELIMITER
    assert inner["ESCAPE"] == frame.ESCAPE
    assert inner["CONTROLS"] == sum(1 << byte for byte in frame.ESCAPED_CONTROLS)


def test_a_session_has_the_marks_of_a_reader():
    inner = _constants(Path(frame.__file__))
    session = _constants(REPO / "device/warden/host_session.py")
    for name in ("ROOM", "BAD", "LENGTH", "MARKS"):
        assert session[name] == inner[name], name
    assert (session["FOUND"], session["ITEMS"]) == (frame.FOUND, frame.ITEMS)
    assert session["KIND"] == frame.FIRST


def test_the_parts_of_a_samples_cost_are_the_schemas():
    source = (REPO / "device/warden/costs.py").read_text()
    assert f"PARTS = {ids.COST_PARTS}".replace("'", '"') in " ".join(source.split())
