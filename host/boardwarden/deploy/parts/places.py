"""Which part of the agent each source file, a room, belongs to, and where rooms are found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PACKAGES = ("warden", "warden_schema")  # where rooms are; a board gets only the first
WATCH = "warden"
DECIDE = "warden.decide"
SETUP = "warden.setup"  # makes the agent, and is let go when start() ends
SESSION = "warden.host_session"  # one host: where there is a link
SERVE = "warden.hosts"  # several hosts: where the application made a TcpServer
_TABLES = "warden.tables"  # of what was decided
# Rooms that are rarely needed, with the part that each becomes: loaded when it is asked for.
_LAZY = {
    "warden.setup": SETUP,
    "warden.launch": SETUP,
    "warden.detect": SETUP,
    "warden.sensors.find_table": SETUP,
    "warden.policy_setup": "warden.policy_setup",  # likewise, where the agent decides
    "warden.policy.publish": "warden.policy_setup",
    "warden.host_session": SESSION,
    "warden.uplink": SESSION,
    "warden.link.stream": SESSION,
    "warden_schema.frame": SESSION,
    "warden.requests": "warden.requests",
    "warden.errors": "warden.errors",  # of what decides, and of requests to a board that watches
    "warden.link.tcp": "warden.tcp",
    "warden.link.tls": "warden.tls",  # where the application gives a certificate
    "warden.link.keys": "warden.keys",  # where the application gives a key,
    "warden.link.brakes": "warden.keyed_hosts",  # to a TcpServer,
    "warden.keyed_hosts": "warden.keyed_hosts",
    "warden.keyed_mqtt": "warden.keyed_mqtt",  # or to an MqttLink
    "warden.hosts": SERVE,
    "warden.hosts_message": SERVE,
    "warden.host_connection": SERVE,
    "warden.mqtt_session": "warden.mqtt",  # where the application made an MqttLink
    "warden.link.mqtt": "warden.mqtt",
    "warden.link.mqtt_as": "warden.mqtt_as",  # of a client of mqtt_as
    "warden.stored_policy": "warden.stored_policy",  # where one is stored,
    "warden.policy_file": "warden.policy_file",  # as it is loaded and stored
    "warden.crashes": "warden.crashes",  # where the application asks for it
    "warden.application": "warden.crashes",
    "warden.last_boot": "warden.last_boot",  # once in a boot,
    "warden.crash_setup": "warden.last_boot",
    "warden.crash_report": "warden.crash_report",  # when somebody asks
    "warden.retained": "warden.retained",  # where what survives a reset is the application's, too
    "warden.task_watchdog": "warden.task_watchdog",  # where the application asks for it,
    "warden.duties": "warden.duties",  # with a check-in or the hardware watchdog,
    "warden.duties_setup": "warden.duties_setup",  # which this one sets up
    "warden.hardware_watchdog": "warden.duties_setup",
    "warden.watchdog_setup": "warden.watchdog_setup",  # for each call
    "warden.hang_stopper": "warden.hang_stopper",  # with another action than "tell"
    "warden.by_dupterm": "warden.by_dupterm",  # where the port has that,
    "warden.stop_setup": "warden.stop_setup",  # which this one finds out
    "warden.public": "warden.public",  # for a name that is not loaded
    "warden.policy.forecast": "warden.forecast",  # where a threshold is on a forecast
    "warden_schema.rise": "warden.forecast",  # and of trends
    "warden.policy.meters": "warden.meters",  # where a task or a thread is metered
    "warden.policy.memory_profile": "warden.memory_profile",  # of memory=LEARNED
    "warden.policy.lease_handle": "warden.lease_handle",  # where the port has weakref
    "warden.guard": "warden.guard",
    "warden.sleep": "warden.sleep",
    "warden.metered_file": "warden.metered_file",
    "warden.budgets": "warden.budgets",
    "warden.wear": "warden.wear",  # at the first write to flash
    "warden.counted_socket": "warden.counted_socket",
    "warden.extras": "warden.extras",  # for each call of what is called once
    "warden.mqtt_setup": "warden.mqtt_setup",
    "warden.sensors.lock": "warden.lock",  # where the port has no threads
    "warden.sensors.wlan": "warden.wlan",  # where the firmware has `network`
    "warden.stand_in": "warden.stand_in",  # for it, and for `_thread`
    "warden.sensors.system_heap": "warden.system_heap",  # where the firmware has `esp32`
    "warden.link.terminal": "warden.terminal",  # of the unix port
    "warden.history_reader": "warden.history_reader",  # for a host, and trends
    "warden.trend_report": "warden.trend_report",
    "warden_schema.trend": "warden.trend_report",
    "warden_schema.values": "warden.values",  # of requests and of a stored policy
    "warden.board_mps2": "warden.board_mps2",
}
_TWINS = ("_viper", "_plain")  # the same functions as machine code and as bytecode, by their ends
# Machine code that is written for one kind of machine, and what other machines have for it.
_THUMB = {"warden/heap_thumb_viper.py": True, "warden/heap_viper.py": False}
HOSTS = ("warden_schema.ids",)  # the board's code has its numbers
# Rooms that `warden.public` imports by a text, so each is the part of its own name.
BY_TEXT = frozenset(
    f"warden.{name}"
    for name in (
        *("extras", "mqtt_setup", "crash_report", "watchdog_setup"),
        *("budgets", "counted_socket", "guard", "sleep", "trend_report"),
    )
)
SOMETIMES = ("warden.board_mps2",)  # of one machine only: imported where it is there


def part_of(room: str) -> str:
    """Return the module that a room is joined into."""
    if room.endswith(_TWINS):
        return f"{WATCH}.{room.rpartition('.')[2]}"
    part = _LAZY.get(room)
    if part:
        return part
    return DECIDE if room.startswith("warden.policy.") or room == _TABLES else WATCH


def file_of(part: str) -> str:
    """Return a part's file below the board's lib."""
    return "warden/__init__.py" if part == WATCH else part.replace(".", "/") + ".py"


def runs_on(file: str, architecture: str) -> bool:
    """Tell whether a part of machine code is for an architecture: a file below the board's lib."""
    return _THUMB.get(file, architecture.startswith("armv")) == architecture.startswith("armv")


def room_files(*folders: Path) -> dict[str, Path]:
    """Return the source files of rooms below folders that hold packages, by name below them."""
    found = {}
    for folder in folders:
        for package in PACKAGES:
            for file in sorted((folder / package).rglob("*.py")):
                name = file.relative_to(folder).as_posix()
                if _room_of(name) not in HOSTS:
                    found[name] = file
    return found


def read_rooms(*folders: Path) -> dict[str, str]:
    """Return the text of each room below folders that hold packages, by the module that it is."""
    files = room_files(*folders)
    return {_room_of(name): file.read_text(encoding="utf-8") for name, file in files.items()}


def _room_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def is_ours(module: str | None) -> bool:
    """Tell whether a module that is imported is of the agent."""
    return (module or "").split(".")[0] in PACKAGES


def is_package(name: str, rooms: Iterable[str]) -> bool:
    """Tell whether a room is a folder's __init__.py, which a board does not get, but `warden`'s."""
    return name != WATCH and any(other.startswith(name + ".") for other in rooms)
