"""Reads an MQTT broker as Home Assistant's documentation has it: discovery, states, triggers.

https://www.home-assistant.io/integrations/mqtt/ and …/sensor.mqtt/, …/device_trigger.mqtt/ (2026).
What those demand of a message is written down here; one that breaks it fails the test.
"""

import collections
import json
import re

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

_CONFIG = re.compile(r"homeassistant/device/([a-zA-Z0-9_-]+)/config")
_VALUE = re.compile(r"\{\{ value_json\.(\w+) \}\}")
_LONG = {
    "dev": "device", "o": "origin", "cmps": "components", "p": "platform", "ids": "identifiers",
    "sw": "sw_version", "mdl": "model", "sn": "serial_number",
}  # fmt: skip
_DEVICE = {"identifiers", "connections", "manufacturer", "model", "name", "hw_version",
           "serial_number", "sw_version", "via_device", "suggested_area", "url"}  # fmt: skip
_ROOT = {"device", "origin", "components", "state_topic", "command_topic", "qos", "encoding",
         "availability", "availability_mode", "availability_topic"}  # fmt: skip
_SENSOR = {"platform", "unique_id", "name", "value_template", "expire_after", "device_class",
           "unit_of_measurement", "state_class", "entity_category", "options"}  # fmt: skip
_TRIGGER = {"platform", "automation_type", "type", "subtype", "topic", "payload", "qos",
            "value_template"}  # fmt: skip
_UNITS = {"data_size": {"B", "kB", "MB", "GB"}, "duration": {"s", "ms", "min", "h", "d"},
          "signal_strength": {"dB", "dBm"}, "enum": {None}, None: {"%", None}}  # fmt: skip


class Device:
    """A device by its discovery message; `states` by name, `fired` by (type, subtype)."""

    def __init__(self, config):
        self.config = config
        self.available = None
        self.states = {}
        self.fired = []

    @property
    def names(self):
        return {each["name"] for each in self.config["components"].values() if "name" in each}


class HomeAssistantLike:
    """A context manager; `devices` by the id in their topics. user: whose password is the name."""

    def __init__(self, port, user=None):
        self._port = port
        self._user = user
        self.devices = {}
        self.removed = []
        self.others = collections.Counter()  # topics that are no device's
        self._retained = {}
        self.problem = None

    def __enter__(self):
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        if self._user is not None:
            self._client.username_pw_set(self._user, self._user)
        self._client.on_message = self._on_message
        topics = [("homeassistant/#", 0), ("boardwarden-ha/#", 0)]
        self._client.on_connect = lambda *_: self._client.subscribe(topics)
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()
        assert self.problem is None, self.problem

    def birth(self):
        """Say that Home Assistant has started."""
        self._client.publish("homeassistant/status", "online")

    def _on_message(self, client, data, message):
        try:
            self._receive(message.topic, message.payload.decode(), message.retain)
        except Exception as error:
            self.problem = f"{message.topic} {message.payload}: {error!r}"

    def _receive(self, topic, text, retained):
        if topic == "homeassistant/status":
            return
        if topic.startswith("homeassistant/"):
            found = _CONFIG.fullmatch(topic)
            assert found, "an illegal discovery topic"
            if not text:
                self.removed.append(found[1])
                self.devices.pop(found[1], None)
                return
            config = check(json.loads(text))
            device = self.devices.setdefault(found[1], Device(config))
            device.config = config
            for seen, payload in self._retained.items():
                self._update(device, seen, payload)
            return
        if topic.endswith("/availability"):
            self._retained[topic] = text
        for device in self.devices.values():
            self._update(device, topic, text)

    def _update(self, device, topic, text):
        config = device.config
        if topic == config["availability"][0]["topic"]:
            device.available = {"online": True, "offline": False, "": None}[text]
        elif topic == config["state_topic"]:
            for each in config["components"].values():
                if each["platform"] == "sensor":
                    value = json.loads(text)[_VALUE.fullmatch(each["value_template"])[1]]
                    assert "options" not in each or value in (None, *each["options"])
                    device.states[each["name"]] = value
        else:
            for each in config["components"].values():
                if each.get("topic") == topic and text:
                    fired = json.loads(text)
                    if fired[_VALUE.fullmatch(each["value_template"])[1]] == each["payload"]:
                        device.fired.append((each["type"], each["subtype"]))


def _long(fields):
    return {_LONG.get(key, key): value for key, value in fields.items()}


def check(message):
    """Return a device discovery message with its keys unabbreviated; fail if it is not one."""
    root = _long(message)
    assert set(root) <= _ROOT, set(root) - _ROOT
    device, origin = _long(root["device"]), _long(root["origin"])
    assert set(device) <= _DEVICE
    assert device["identifiers"], "a device needs an identifier"
    assert all(isinstance(value, str) for key, value in device.items() if key != "identifiers")
    assert origin["name"]
    for one in root["availability"]:
        check_topic(one["topic"])
    check_topic(root["state_topic"])
    unique, triggers = [], []
    for key, component in root["components"].items():
        component = root["components"][key] = _long(component)
        if component["platform"] == "sensor":
            _check_sensor(component)
            unique.append(component["unique_id"])
        else:
            assert component["platform"] == "device_automation"
            assert set(component) <= _TRIGGER
            assert component["automation_type"] == "trigger"
            check_topic(component["topic"])
            triggers.append((component["type"], component["subtype"]))
    assert len(set(unique)) == len(unique)
    assert len(set(triggers)) == len(triggers)
    return {**root, "device": device, "origin": origin}


def _check_sensor(sensor):
    assert set(sensor) <= _SENSOR, set(sensor) - _SENSOR
    assert sensor["unique_id"]
    assert isinstance(sensor["expire_after"], int)
    kind = sensor.get("device_class")
    assert sensor.get("unit_of_measurement") in _UNITS[kind], sensor
    assert sensor.get("state_class") in (None, "measurement", "total", "total_increasing")
    assert sensor.get("entity_category") in (None, "diagnostic")
    if kind == "enum":
        assert sensor["options"]
        assert "state_class" not in sensor


def check_topic(topic):
    """Fail for what is no topic to subscribe to and publish at."""
    assert topic
    assert not set("+#\0") & set(topic)
    assert topic.isascii()
    assert topic.isprintable()
