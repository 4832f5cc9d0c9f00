"""Topics and messages by which Home Assistant discovers and shows boards, over MQTT.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

from boardwarden import Event, Level, Restart, Status
from boardwarden.grants import begins_hang
from boardwarden.models import LEVELS, enum_name
from boardwarden.render.text import printable
from boardwarden.transport.address import is_mqtt, parse_mqtt

from .watched import Snapshot

DISCOVERY = "homeassistant"  # the prefix that Home Assistant has unless it is told another
BIRTH = f"{DISCOVERY}/status"
OURS = "boardwarden-ha"  # of states, availability and triggers
EXPIRE_S = 60  # without a state, figures are unknown: `serve` may be gone
_MAX_TEXT = 80
_UNSAFE = re.compile(rb"[^A-Za-z0-9-]")


class Sensor(NamedTuple):
    """A figure: its name in Home Assistant, and where it is of a snapshot; None: not known."""

    name: str
    read: Callable[[Snapshot], float | str | None]
    unit: str | None = None
    device_class: str | None = None
    state_class: str | None = "measurement"
    diagnostic: bool = False


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 1)


def _live_share(one: Snapshot) -> float | None:
    live, total = one.status.memory.live_bytes, one.status.memory.total_bytes
    return None if live is None or not total else round(100 * live / total, 1)


def _storage(one: Snapshot) -> float | None:
    return _percent(one.status.storage[0].usage) if one.status.storage else None


def _level(one: Snapshot) -> str | None:
    """Return the worst level of all thresholds; None of one that only a newer board knows."""
    worst = max((each.level for each in one.thresholds), default=None)
    return enum_name(worst) if isinstance(worst, Level) else None


SENSORS: Mapping[str, Sensor] = {
    "memory_live": Sensor("Memory live", _live_share, "%"),
    "memory_used_bytes": Sensor(
        "Memory used", lambda one: one.status.memory.used_bytes, "B", "data_size"
    ),
    "largest_block_bytes": Sensor(
        "Largest free block",
        lambda one: one.status.memory.largest_free_block_bytes,
        *("B", "data_size"),
    ),
    "cpu": Sensor("CPU", lambda one: _percent(one.status.cpu.usage), "%"),
    "loop_lag_s": Sensor(
        "Loop lag", lambda one: one.status.cpu.loop_lag_worst_s, "s", "duration"
    ),
    "storage": Sensor("Storage", _storage, "%"),
    "rssi_dbm": Sensor(
        "Signal", lambda one: one.status.network.rssi_dbm, "dBm", "signal_strength", diagnostic=True
    ),
    "pressure": Sensor("Pressure", _level, device_class="enum", state_class=None),
    "uptime_s": Sensor(
        "Uptime", lambda one: one.status.cpu.uptime_s, "s", "duration", None, diagnostic=True
    ),
    "boots": Sensor(
        "Boots", lambda one: one.status.board.boots, None, None, "total_increasing", diagnostic=True
    ),
}  # fmt: skip

# Triggers, by what is published for them: their type and subtype.
TRIGGERS = {
    "restart_unexpected": ("restart", "unexpected"),
    "restart_expected": ("restart", "expected"),
    "alarm_warn": ("alarm", "warn"),
    "alarm_critical": ("alarm", "critical"),
    "alarm_clear": ("alarm", "clear"),
    "exception": ("exception", "caught"),
    "hang": ("hang", "begun"),
}


def object_id(address: str) -> str:
    """Return what stands for a board in topics: letters, digits, - and _ only; no two share one.

    For a board of a broker it is of the board's name, whatever the broker's.
    """
    name = parse_mqtt(address)[1] if is_mqtt(address) else address
    return _UNSAFE.sub(lambda found: b"_%02x" % found[0][0], name.encode()).decode()


def topics(address: str) -> tuple[str, str, str, str]:
    """Return the topics of a board's configuration, state, availability and triggers."""
    one = object_id(address)
    ours = f"{OURS}/{one}"
    config = f"{DISCOVERY}/device/boardwarden-{one}/config"
    return config, f"{ours}/state", f"{ours}/availability", f"{ours}/trigger"


def configuration(address: str, status: Status, keys: Iterable[str]) -> dict[str, Any]:
    """Return the discovery message of a board that has these figures."""
    _, state, availability, trigger = topics(address)
    one = f"boardwarden-{object_id(address)}"
    board = status.board
    made_by = {"mdl": board.machine, "sn": board.unique_id, "sw": _software(status)}
    device = {"ids": [one], "name": _named(address)}
    device |= {key: printable(text)[:_MAX_TEXT] for key, text in made_by.items() if text}
    components: dict[str, Any] = {}
    for key in keys:
        components[key] = {"unique_id": f"{one}-{key}", **_sensor(key, SENSORS[key])}
    for key, (kind, subtype) in TRIGGERS.items():
        components[f"trigger_{key}"] = {
            "p": "device_automation",
            "automation_type": "trigger",
            "type": kind,
            "subtype": subtype,
            "topic": trigger,
            "payload": key,
            "value_template": "{{ value_json.trigger }}",
        }
    return {
        "dev": device,
        "o": {"name": "boardwarden", "sw": version("boardwarden")},
        "cmps": components,
        "state_topic": state,
        "availability": [{"topic": availability}],
    }


def _named(address: str) -> str:
    return printable(address.rpartition("/")[2] if is_mqtt(address) else address)[:_MAX_TEXT]


def _software(status: Status) -> str | None:
    agent, firmware = status.board.agent, status.board.firmware
    parts = (f"agent {agent}" if agent else "", f"MicroPython {firmware}" if firmware else "")
    return ", ".join(filter(None, parts)) or None


def _sensor(key: str, sensor: Sensor) -> dict[str, Any]:
    found: dict[str, Any] = {
        "p": "sensor",
        "name": sensor.name,
        "value_template": f"{{{{ value_json.{key} }}}}",
        "expire_after": EXPIRE_S,
    }
    more = {
        "unit_of_measurement": sensor.unit,
        "device_class": sensor.device_class,
        "state_class": sensor.state_class,
        "entity_category": "diagnostic" if sensor.diagnostic else None,
        "options": [*LEVELS] if sensor.device_class == "enum" else None,
    }
    return found | {name: value for name, value in more.items() if value is not None}


def trigger_of(event: Event) -> str | None:
    """Return the trigger that an event fires; None where it fires none."""
    if event.kind == "threshold":
        return f"alarm_{event.detail}" if event.detail in LEVELS else None
    if event.kind == "hang":
        return "hang" if begins_hang(event) else None
    return "exception" if event.kind == "exception" else None


def restart_key(restart: Restart) -> str:
    return "restart_expected" if restart.expected else "restart_unexpected"
