# targets: unix frozen qemu
"""After the start only those modules are in the heap that the agent runs with."""

import sys

import warden
from harness import raises

_LATER = "seldom costs columns report asked kept policy slots leases link_tcp guard"


def test_what_is_asked_for_seldom_is_imported_when_it_is_asked_for():
    warden.start(link=False)
    try:
        assert [name for name in _LATER.split() if "warden." + name in sys.modules] == []
        assert isinstance(warden.trends(1000), dict)
        assert warden.TELL == 0 and callable(warden.threshold)
        assert "warden.policy" not in sys.modules  # nothing was decided
        for name in ("nothing", "_nothing"):
            raises(AttributeError, getattr, warden, name)
    finally:
        warden.stop()
