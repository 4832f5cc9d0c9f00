# targets: unix frozen qemu
"""What protects is loaded at the start, and nothing is imported later that has not to be.

Invariants 12 and 15: MicroPython has no import lock, and an import takes memory. The names are
those of the source files and of what they are joined into.
"""

import builtins
import sys

import warden
from harness import skip

_SELDOM = (
    "requests",
    "link.tcp",
    "tcp",
    "stored_policy",
    "guard",
    "metered_file",
    "counted_socket",
    "trend_report",
    "trends",
    "extras",
    "policy.meters",
    "meters",
    "policy.forecast",
    "forecast",
    "history_report",
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


def test_a_start_loads_what_it_needs_and_nothing_that_is_seldom():
    """The first test by its name: the others load more."""
    warden.start(link=False, protect=False)
    warden.status()
    warden.poll()
    warden.stop()
    assert not [name for name in _loaded() if _is_policy(name)]
    warden.start(link=False)
    warden.stop()
    loaded = _loaded()
    assert [name for name in loaded if _is_policy(name)]
    assert [name for name in _SELDOM if "warden." + name in loaded] == []


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
        warden.begin("other", memory=warden.LEARNED).complete()
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


def test_what_is_asked_for_seldom_is_loaded_then():
    warden.start(link=False)
    try:
        assert isinstance(warden.trends(1000), dict)
        assert warden.guarded("name")(_ignore)(1) == 0
    finally:
        warden.stop()


def test_what_is_no_public_name_is_an_attribute_error():
    for started in (False, True):
        if started:
            warden.start(link=False)
        try:
            for name in ("nothing", "_nothing", "TcpNothing"):
                assert not hasattr(warden, name), name
        finally:
            warden.stop()
