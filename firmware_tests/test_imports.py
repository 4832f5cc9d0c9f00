# targets: unix frozen qemu
"""What protects is loaded at the start, and nothing is imported later that has not to be.

Invariants 12 and 15: MicroPython has no import lock, and an import takes memory. The names are
those of the source files and of what they are joined into.
"""

import builtins
import sys

import warden
from harness import has_module, raises, skip
from rig import SinkLink, free_port, poll_all
from warden.running import running_agent

# Not `values`: the rig loads it itself.
_SELDOM = (
    "requests",
    "link.tcp",
    "tcp",
    "stored_policy",
    "policy.forecast",
    "forecast",
    "guard",
    "sleep",
    "metered_file",
    "budgets",
    "policy.meters",
    "meters",
    "policy.memory_profile",
    "memory_profile",
    "wear",
    "counted_socket",
    "trend_report",
    "extras",
    "public",
)


def _loaded():
    return {name for name in sys.modules if name.startswith("warden")}


def _is_policy(name):
    return name == "warden.decide" or name.startswith("warden.policy")


class Imports:
    """`with Imports() as names:` notes what is imported meanwhile, loaded or not."""

    def __enter__(self):
        self._import = builtins.__import__
        self._names = []
        try:
            builtins.__import__ = self._note
        except AttributeError:
            skip("this port does not let an import be seen")
        return self._names

    def _note(self, name, *rest):
        self._names.append(name)
        return self._import(name, *rest)

    def __exit__(self, kind, error, trace):
        builtins.__import__ = self._import
        return False


def test_a_fresh_start_loads_what_it_needs_and_no_rarely_used_module():
    """The first test by its name: the others load more."""
    warden.start(link=False, protect=False)
    warden.status()
    warden.poll()
    assert not hasattr(warden, "x")
    raises(RuntimeError, getattr, warden, "allocate")
    warden.stop()
    assert not [name for name in _loaded() if _is_policy(name)]
    for name in [name for name in _loaded() if name == "warden.public"]:
        del sys.modules[name]  # to see what start() loads
    warden.start(link=False)
    warden.stop()
    loaded = _loaded()
    assert [name for name in loaded if _is_policy(name)]
    assert not [name for name in _SELDOM if "warden." + name in loaded], loaded


def test_after_the_start_no_call_that_decides_imports():
    warden.start(link=False)
    try:
        before = _loaded()
        with Imports() as names:
            _decide()
        assert names == []
        assert _loaded() == before
    finally:
        warden.stop()


def _decide():
    with warden.session("s", memory=10_000) as session:
        with warden.operation("op", priority=warden.HIGH, memory=100, session=session) as op:
            op.check()
            op.progress(500, "half")
        warden.begin("other").complete()
        lease = warden.allocate(warden.MEMORY, 100, "me", session=session, backed=True)
        lease.commit()
        lease.release()
        try:
            warden.allocate(warden.MEMORY, 0x3FFFFFFF)
        except warden.Denied:
            pass
    warden.can_execute(warden.LOW)
    warden.operations()
    warden.allocations()
    warden.threshold("cpu", 900, 950)
    warden.threshold("cpu")
    warden.thresholds()
    warden.set_limits(max_operations=3)
    warden.on("lease", _ignore)
    warden.on_trim(_ignore)
    warden.status()
    warden.start_monitoring(1000)
    warden.stop_monitoring()
    warden.poll()


def _ignore(what):
    return 0


def test_a_rarely_used_module_is_loaded_when_it_is_used():
    warden.start(link=False)
    try:
        assert isinstance(warden.trends(1000), dict)
        assert warden.guarded("name")(_ignore)(1) == 0
        learned = warden.guarded("other", memory=warden.LEARNED)(_ignore)
        with Imports() as names:
            assert learned(1) == 0
        assert not [name for name in names if "profile" in name]  # it was loaded before
    finally:
        warden.stop()


def test_a_module_loaded_later_moves_no_name_of_the_package():
    """Where its table grows they are in another order: a reader without a GIL would miss one."""
    for protect in (False, True):
        link = SinkLink()
        warden.start(interval_ms=600_000, budget_permille=1000, link=link, protect=protect)
        try:
            before = list(warden.__dict__)
            warden.trends(1000)
            warden.use_wlan(None)
            if has_module("socket"):
                warden.TcpServer(free_port(), "127.0.0.1").close()
                sock = __import__("socket").socket()
                warden.counted(sock).close()
            if protect:
                _load_what_decides_seldom()
            link.receive(64, 1, 3, 77, None)
            poll_all(running_agent())
            for number, arguments in ((3, [0, 0, 1]), (4, [3, 1, "x", 1, 1000, None]), (14, [2])):
                link.receive(67, 77, number, number, arguments)
                poll_all(running_agent())
            assert "warden.requests" in sys.modules
            assert "warden.policy_file" not in sys.modules  # which the last one loaded
            assert not protect or "warden.stored_policy" in sys.modules
            warden.checkin("part", 1000).close()
            warden.exceptions()
            assert "requests" in warden.__dict__
            now = list(warden.__dict__)  # but what was let go
            assert [name for name in now if name in before] == [
                name for name in before if name in now
            ]
        finally:
            warden.stop()


def test_what_is_called_once_is_let_go_and_what_comes_again_is_found_at_once():
    warden.start(link=False)
    try:
        warden.scan_storage()
        warden.use_wlan(None)
        raises(ValueError, warden.stored_key, "neither right")
        raises(TypeError, warden.TcpServer, "8765")
        raises(TypeError, warden.MqttLink, None, "board")
        warden.checkin("part", 1000).close()
        warden.exceptions()
        for name in ("extras", "mqtt_setup", "watchdog_setup", "crash_report", "public"):
            assert "warden." + name not in sys.modules, name
            assert name not in warden.__dict__, name
        for name in ("trends", "guarded", "sleeping"):
            getattr(warden, name)
            assert name in warden.__dict__, name
        assert "warden.public" not in sys.modules
        with Imports() as names:
            warden.guarded("name")
            warden.sleeping()
        warden.trends(1000)
        assert names == []
    finally:
        warden.stop()


def test_a_host_that_reads_loads_no_more_than_that_takes():
    link = SinkLink()
    warden.start(interval_ms=600_000, budget_permille=1000, link=link)
    try:
        link.receive(64, 1, 3, 77, None)
        poll_all(running_agent())
        for name in ("stored_policy", "trend_report"):
            sys.modules.pop("warden." + name, None)
        for number, request, arguments in (
            (8, 14, [0]),
            (9, 14, [None]),
            (10, 16, [0]),
            (11, 3, [0, 0, 1]),
        ):
            link.receive(67, 77, number, request, arguments)
            poll_all(running_agent())
        assert "warden.history_reader" in sys.modules
        for name in ("stored_policy", "trend_report"):
            assert "warden." + name not in sys.modules, name
    finally:
        warden.stop()


def _load_what_decides_seldom():
    warden.guarded("name")(_ignore)(1)
    warden.threshold("memory_exhausted_in", 60)
    try:
        lease = warden.allocate(warden.STORAGE, 1, mount="/")
        raises((OSError, ValueError), lease.open, "/nothing/here")
    except warden.Denied:  # nothing is mounted
        pass


def test_an_unknown_name_raises_attribute_error():
    for started in (False, True):
        if started:
            warden.start(link=False)
        try:
            for name in ("nothing", "_no_such_name", "TcpNothing"):
                assert not hasattr(warden, name), name
        finally:
            warden.stop()
