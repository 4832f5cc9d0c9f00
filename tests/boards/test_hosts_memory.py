"""The heap that several hosts take on a board of 32 bits: of a port, and of each of them."""

from __future__ import annotations

import importlib
import os

import pytest
from free_ports import free_port
from places import REPO

# Bytes: of a session where nobody is connected, beside the port and its keys; of each host.
_NOBODY = 700
_EACH = {"control=True": 700, "control_key=KEY": 1024}
_LEFT = 100  # that stay when all have left: who was here last, say


@pytest.fixture(scope="module")
def frozen():
    """The frozen unix port of 32 bits; skip, but never in CI, where it cannot be had."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPO / "tools")
        tool = importlib.import_module
        try:
            yield tool("heap_count").Unix32(tool("build_firmware").build("unix32-frozen"))
        except tool("firmware_errors").BuildError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))


def steps_of(options: str, link: str) -> dict[str, str]:
    """What the board does, one step after the other; only the last ones are of hosts."""
    port = free_port()
    # What is loaded once is loaded before it is counted: requests, and what makes a port.
    loaded = "import warden, warden.requests\nKEY = bytes(range(128, 160))\n"
    joins = (REPO / "tests" / "support" / "on_board" / "joins.py").read_text()
    return {
        "load": f"{loaded}warden.TcpServer(0, {options})",
        "port": f"PORT = warden.TcpServer({port}, {options})\nPORT.open()",
        "start": f"warden.start(link={link})",
        "hosts": f"{joins}\nprepare({port}, {'KEY' if 'KEY' in options else None})",
        "once": "join(50)\nleave()\nsweep()",
        **{f"host{number}": f"join({50 + number})\nsweep()" for number in (1, 2, 3)},
        "left": "leave()\nsweep()",
    }


@pytest.mark.timeout(240)  # where the interpreter is not built yet
@pytest.mark.parametrize("options", _EACH)
def test_hosts_take_no_more_than_they_may_and_give_it_back(frozen, options: str) -> None:
    steps = steps_of(options, "PORT")
    counts = {name: count.bytes for name, count in frozen.count(steps, None).items()}
    without = frozen.count(dict(list(steps_of(options, "False").items())[:3]), None)
    assert 0 < counts["start"] - without["start"].bytes <= _NOBODY
    for name in ("host2", "host3"):
        assert 0 < counts[name] <= _EACH[options]
    joined = sum(counts[f"host{number}"] for number in (1, 2, 3))
    assert counts["left"] + joined <= _LEFT + 3 * 128  # of each the last replies stay
