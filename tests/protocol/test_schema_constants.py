"""The board's code redeclares the schema's constants (`const` folds in its own file only).

Here they are held equal: a name that both sides have must have one value. So are the lists of
names whose places are numbers on the wire.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from places import REPO

from warden_schema import ids

_CONST = re.compile(r"^_([A-Z0-9_]+) = const\((.+)\)(?:  #.*)?$", re.MULTILINE)
# Names of the board's own that happen to be the schema's too, with the reason.
_OTHER_MEANING: dict[tuple[str, str], str] = {}


def _constants(file: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, value in _CONST.findall(file.read_text()):  # some are made of others
        others = {f"_{other}": known for other, known in found.items()}
        found[name] = eval(value, {"__builtins__": {}}, others)
    return found


FOLDERS = (REPO / "device/warden", REPO / "shared_schema/warden_schema")
FILES = [file for folder in FOLDERS for file in sorted(folder.rglob("*.py"))]
SHARED = [
    (file.stem, name, value)
    for file in FILES
    for name, value in _constants(file).items()
    if isinstance(getattr(ids, name, None), int) and (file.stem, name) not in _OTHER_MEANING
]


@pytest.mark.parametrize(("file", "name", "value"), SHARED)
def test_constants_of_board_and_schema_are_equal(file: str, name: str, value: int) -> None:
    assert value == getattr(ids, name), f"{file}: _{name}"


def test_the_comparison_finds_shared_constants() -> None:
    assert len(SHARED) > 40
    assert {"host_session", "sample", "capabilities", "operations"} <= {
        file for file, _, _ in SHARED
    }
    assert {"PROTOCOL_MAJOR", "PROTOCOL_MINOR"} <= {name for _, name, _ in SHARED}


def test_a_constant_has_the_same_value_in_all_files() -> None:
    """A reader who knows a name from one file is right about it in every other."""
    values: dict[str, set[object]] = {}
    for file in FILES:
        for name, value in _constants(file).items():
            values.setdefault(name, set()).add(value)
    assert {"DEFAULT_TTL_MS", "SPARES", "EXTREMES"} <= set(values)
    assert {name: found for name, found in values.items() if len(found) > 1} == {}


def _value(file: str, name: str) -> Any:
    """Return the literal that a name of the board's code is given, in a module or in a class."""
    for node in ast.walk(ast.parse((REPO / "device/warden" / file).read_text())):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            value = node.value  # or const(value)
            return ast.literal_eval(value.args[0] if isinstance(value, ast.Call) else value)
    raise AssertionError(f"{file} has no {name}")


def test_a_sample_has_the_schemas_values() -> None:
    fields = _value("../../firmware_tests/figures.py", "FIELDS")
    order = _value("sample.py", "_ORDER")
    assert tuple(fields[place] for place in order) == ids.SAMPLE_VALUES
    assert sorted(order) == list(range(len(fields)))
    sample = _constants(REPO / "device/warden/sample.py")
    assert sample["VALUES"] == len(fields)
    assert sample["UNKNOWN"] == -(2**30)  # no figure is: see the property of deltas


# What the board's code calls a figure's place, by its name in the schema.
_FIGURES = {
    "FREE": "free_bytes",
    "CPU": "cpu_permille",
    "OVERHEAD": "overhead_permille",
    "WORST_LAG": "loop_lag_worst_ms",
    "LAG": "loop_lag_ms",
    "LIVE": "live_bytes",
    "LINK": "link_bytes_per_s",
    "TASKS": "tasks",
    "RSSI": "rssi_dbm",
    "SENT": "sent_bytes",
    "RECEIVED": "received_bytes",
    "LARGEST": "largest_free_block_bytes",
    "THREADS": "threads",
    "CONNECTED": "connected",
    "DROPPED": "dropped_frames",
    "SKIPPED": "skipped_frames",
    "BAD": "bad_frames",
    "FAULTS": "faults",
    "INTERVAL": "interval_ms",
    "TOTAL": "total_bytes",
    "WANTED": "wanted_interval_ms",
    "BUDGET": "budget_permille",
    "LOW_WATER": "low_water_bytes",
}


_OTHER_PLACES = ("MAX_FIGURE",)  # no place


def test_the_places_of_figures_are_those_that_are_sent() -> None:
    order = _value("sample.py", "_ORDER")
    found = {}
    for file in FILES:
        for name, value in _constants(file).items():
            if name.endswith("_FIGURE") and name not in _OTHER_PLACES:
                found[name.removesuffix("_FIGURE")] = value
    names = {name: ids.SAMPLE_VALUES[order.index(place)] for name, place in found.items()}
    assert names == _FIGURES


def test_the_metrics_of_thresholds_are_the_samples_figures() -> None:
    order = _value("sample.py", "_ORDER")
    metrics = _value("policy/thresholds.py", "METRICS").split()
    places = _value("policy/thresholds.py", "_METRIC_FIGURES")
    others = {"cpu": "cpu_permille", "overhead": "overhead_permille"}
    others |= {"loop_lag": "loop_lag_ms", "loop_lag_worst": "loop_lag_worst_ms"}
    for metric, place in zip(metrics, places, strict=False):  # the last are no sample's
        if place:
            assert ids.SAMPLE_VALUES[order.index(place)] == others.get(metric, metric)


def test_a_delta_has_the_schemas_bits() -> None:
    fields = _value("../../firmware_tests/figures.py", "FIELDS")
    sample = _constants(REPO / "device/warden/sample.py")
    assert fields[sample["FIRST_BIT"] : sample["NEEDS_SAMPLE"]] == ids.DELTA_VALUES
    assert (fields[sample["UPTIME_S"]], fields[sample["UPTIME_MS"]]) == ("uptime_s", "uptime_ms")
    assert sample["FIRST_BIT"] == 2
    assert sample["BIAS"] == ids.DELTA_BIAS
    assert sample["FULL_EVERY"] == ids.WHOLE_EVERY


def test_hello_has_the_schemas_limits() -> None:
    limits = (ids.MAX_PAYLOAD, ids.MAX_REQUEST, ids.MAX_PENDING, ids.MAX_MOUNTS)
    session = _constants(REPO / "device/warden/host_session.py")
    assert session["LIMITS"] == limits


# What the board's entries call a field, where it is not the schema's word.
_OTHER_NAMES = {
    ("LEASE", "kind"): "resource",
    ("LEASE", "began_s"): "granted_s",
    ("LEASE", "is_committed"): "committed",
    ("OPERATION", "reason"): "why",
}


def _tables_with_fields() -> dict[str, tuple[str, ...]]:
    """Return what tables of the board send of an entry, by the constant of their message's kind."""
    found = {}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            makes = ("super().__init__", "make_rows")
            if isinstance(node, ast.Call) and ast.unparse(node.func) in makes:
                for kind, fields in zip(node.args, node.args[1:], strict=False):
                    if isinstance(fields, ast.Tuple) and fields.elts:
                        found[ast.unparse(kind).strip("_")] = ast.literal_eval(fields)
    return found


def test_tables_send_the_schemas_fields_in_its_order() -> None:
    tables = _tables_with_fields()
    assert set(tables) >= {"LEASE", "OPERATION", "SESSION", "THRESHOLD", "METER", "NEED"}
    for kind, names in tables.items():
        fields = tuple(_OTHER_NAMES.get((kind, name), name) for name in names)
        assert ids.FIELDS[getattr(ids, kind)] == ("seq", "row", *fields), kind


def test_each_capability_has_its_reasons() -> None:
    constants = _constants(REPO / "device/warden/setup.py")
    assert constants["CAPABILITIES"] == len(ids.CAPABILITIES)
    link = _constants(REPO / "device/warden/link/mqtt.py")
    assert link["CAN_WILL"] == len(ids.CAPABILITIES)
    assert ids.MQTT_CAPABILITIES == ("last_will",)


def test_history_has_the_schemas_metrics() -> None:
    history = _constants(REPO / "device/warden/history.py")
    assert history["METRICS"] == len(ids.METRICS)
    seconds, minutes, hours = (slots * len(ids.METRICS) for _, slots in ids.TIERS)
    means = seconds + minutes + hours
    assert tuple(zip(history["STEP_S"], history["SLOTS"], strict=True)) == ids.TIERS
    assert history["TIER_BEGIN"] == (0, seconds, seconds + minutes)
    assert 2 * seconds + history["EXTREMES"] == means
    made = _constants(REPO / "device/warden/setup.py")
    assert made["RING"] == means + (len(ids.STATISTICS) - 1) * (minutes + hours)
    assert history["TIERS"] == made["TIERS"] == len(ids.TIERS)
    assert made["OPEN_SLOTS"] * history["OPEN"] == history["TIERS"] << history["TIER_BITS"]
    assert _value("history_reader.py", "NAMES") == ids.METRICS


def test_thresholds_have_the_schemas_metrics() -> None:
    assert _value("policy/thresholds.py", "METRICS").split() == list(ids.THRESHOLD_METRICS)


def test_each_kind_field_list_names_its_first_fields() -> None:
    for kind, fields in ids.FIELDS.items():
        assert fields[0] == ("seq" if kind < ids.FIRST_HOST_KIND else fields[0])
        assert len(fields) <= 14  # a payload is a fixarray: at most 15 items with the kind


def test_the_escaped_bytes_are_the_documented_ones() -> None:
    for twin in ("plain", "viper"):
        inner = _constants(REPO / f"shared_schema/warden_schema/loops_{twin}.py")
        assert inner["DELIMITER"] == ids.DELIMITER
        assert inner["ESCAPE"] == ids.ESCAPE
        assert inner["CONTROLS"] == sum(1 << byte for byte in ids.ESCAPED_CONTROLS)


def test_the_requests_that_only_look_are_those_of_the_schema() -> None:
    mask = _constants(REPO / "device/warden/requests.py")["LOOKING"]
    looking = (ids.PING, ids.HISTORY_READ, ids.CAN_EXECUTE, ids.TELL_METERS, ids.QUOTA)
    assert mask == sum(1 << number for number in looking)
