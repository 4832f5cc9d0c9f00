"""Shows followed boards in Home Assistant, over MQTT.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, NamedTuple

from boardwarden import Board, Event, Level, Restart, Status
from boardwarden.errors import ConnectError, LinkLost
from boardwarden.grants import begins_hang
from boardwarden.models import LEVELS, enum_name
from boardwarden.render.tables import event_text
from boardwarden.render.text import printable
from boardwarden.transport.address import is_mqtt, parse_broker, parse_mqtt
from boardwarden.transport.mqtt_broker import Broker, shared

from .watched import Snapshot, snapshot

STATE_S = 10.0  # between two states of a board
_TICK_S = 1.0
_BUSY_S = 0.05  # where the connection takes nothing just now
_RETRY_PAUSE_S = (1.0, 30.0)
_MAX_TRIGGERS = 100  # that wait for the broker
_log = logging.getLogger(__name__)
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


# --- publishing -----------------------------------------------------------------------------------


@dataclass
class _Entry:
    """A board, and what was published of it over this connection."""

    address: str
    board: Board | None = None
    keys: dict[str, None] = field(default_factory=dict)  # of figures that it ever had, in order
    config: str = ""
    config_made_of: tuple[str | None, ...] = ()
    config_sent: str | None = None
    available_sent: bool | None = None
    state_due: float = 0.0

    @property
    def is_there(self) -> bool:
        return self.board is not None and self.board.connected

    def renew(self) -> None:
        """Have all of it published again."""
        self.config_sent = self.available_sent = None
        self.state_due = 0.0


class HomeAssistant:
    """A Follower that publishes at a broker, over a connection that this process has once."""

    def __init__(self, address: str) -> None:
        """`address`: of the broker; raises AddressError."""
        self._place = parse_broker(address)
        self._entries: dict[str, _Entry] = {}
        self._forgotten: set[str] = set()  # addresses
        self._triggers: deque[tuple[str, str]] = deque(maxlen=_MAX_TRIGGERS)  # topic, payload
        self._wake = asyncio.Event()
        self._ending = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> HomeAssistant:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._ending = True
            self._wake.set()
            await asyncio.wait([self._task], timeout=2 * _TICK_S)
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    def forget(self, address: str) -> None:
        """Take a board out of Home Assistant."""
        self._entries.pop(address, None)
        self._forgotten.add(address)
        self._wake.set()

    async def follow(self, address: str, board: Board) -> None:
        """Publish what a board does until cancelled."""
        self._forgotten.discard(address)
        entry = self._entries.setdefault(address, _Entry(address))
        entry.board = board
        entry.state_due = 0.0
        self._wake.set()
        try:
            await asyncio.gather(self._follow_events(entry, board), self._follow_link(entry, board))
        finally:
            entry.board = None
            self._wake.set()

    async def _follow_events(self, entry: _Entry, board: Board) -> None:
        """Trigger what events there are from now on."""
        remembered = len(board.recent_events)
        async for event in board.events():
            if remembered > 0:
                remembered -= 1
            elif (key := trigger_of(event)) is not None:
                self._trigger(entry, key, event_text(event))

    async def _follow_link(self, entry: _Entry, board: Board) -> None:
        seen, connected = board.restart_count, board.connected
        async for _ in board.changes():
            new, seen = board.restart_count - seen, board.restart_count
            for restart in board.restarts[-new:] if new else ():
                self._trigger(entry, restart_key(restart), printable(str(restart)))
            if board.connected != connected:
                connected = board.connected
                self._wake.set()

    def _trigger(self, entry: _Entry, key: str, text: str) -> None:
        payload = json.dumps({"trigger": key, "text": text})
        self._triggers.append((topics(entry.address)[3], payload))
        entry.state_due = 0.0
        self._wake.set()

    # --- the broker -----------------------------------------------------------------------------

    async def _run(self) -> None:
        """Publish until cancelled, over one connection after the other."""
        pause, logged = _RETRY_PAUSE_S[0], ""
        while True:
            try:
                await self._publish()
                if self._ending:
                    return
                pause, logged = _RETRY_PAUSE_S[0], ""
            except (ConnectError, LinkLost) as error:
                if str(error) != logged:
                    logged = str(error)
                    _log.warning("Home Assistant: %s It is tried again.", logged)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RETRY_PAUSE_S[1])

    async def _publish(self) -> None:
        """Publish over a connection until it ends, or this does."""
        broker = shared(self._place)
        await broker.enter()
        try:
            for entry in self._entries.values():
                entry.renew()
            # Where it may not be read, Home Assistant has the figures a little later.
            await broker.subscribe([BIRTH], self._on_birth)
            while not broker.is_lost:
                self._wake.clear()
                done = self._publish_due(broker)
                if self._ending and done:
                    return
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _TICK_S if done else _BUSY_S)
        finally:
            broker.unsubscribe([BIRTH], self._on_birth)
            await broker.leave()

    def _on_birth(self, topic: str, payload: bytes, retained: bool) -> None:
        """Home Assistant has started, and knows nothing but what is retained."""
        if payload == b"online" and not retained:
            for entry in self._entries.values():
                entry.state_due = 0.0
            self._wake.set()

    def _publish_due(self, broker: Broker) -> bool:
        """Publish what is due; False where the connection takes no more now."""
        for address in tuple(self._forgotten):
            config, _, availability, _ = topics(address)
            if not (broker.publish(config, b"", True) and broker.publish(availability, b"", True)):
                return False
            self._forgotten.discard(address)
        now = asyncio.get_running_loop().time()
        if not all(self._publish_entry(broker, entry, now) for entry in self._entries.values()):
            return False
        while self._triggers:  # once Home Assistant knows of them
            topic, payload = self._triggers[0]
            if not broker.publish(topic, payload.encode()):
                return False
            self._triggers.popleft()
        return True

    def _publish_entry(self, broker: Broker, entry: _Entry, now: float) -> bool:
        config, state, availability, _ = topics(entry.address)
        figures: dict[str, Any] | None = None
        if entry.is_there and now >= entry.state_due:
            figures = self._figures(entry)
        if entry.config and entry.config_sent != entry.config:
            if not broker.publish(config, entry.config.encode(), True):
                return False
            entry.config_sent = entry.config
        is_there = entry.is_there and not self._ending
        # With each state again: a worker that ends says that what were its boards are offline.
        if entry.config and (entry.available_sent != is_there or figures is not None):
            if not broker.publish(availability, b"online" if is_there else b"offline", True):
                return False
            entry.available_sent = is_there
        if figures is not None and is_there:
            if not broker.publish(state, json.dumps(figures).encode()):
                return False
            entry.state_due = now + STATE_S
        return True

    def _figures(self, entry: _Entry) -> dict[str, Any]:
        """Return a board's figures; one that it has for the first time renews its configuration."""
        one = snapshot(entry.address, entry.board, {}, 0)
        figures = {key: sensor.read(one) for key, sensor in SENSORS.items()}
        entry.keys |= {key: None for key in SENSORS if figures[key] is not None}
        found = {key: None for key in SENSORS if key in entry.keys}
        board = one.status.board
        made_of = (*found, board.machine, board.firmware, board.agent, board.unique_id)
        if made_of != entry.config_made_of:
            entry.config_made_of = made_of
            entry.config = json.dumps(configuration(entry.address, one.status, found))
        return {key: figures[key] for key in found}
