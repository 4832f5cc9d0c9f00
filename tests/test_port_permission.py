"""A port that its user may not open: one sentence with the way out, whatever command meets it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from cli_process import COMMAND
from command_environment import of_command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ports have no owners there")
# root may open everything, unless it gives that up.
_LESS = [
    "setpriv",
    *(f"--{kind}=-dac_override,-dac_read_search" for kind in ("bounding-set", "inh-caps")),
]


@pytest.fixture
def forbidden():
    """Return a port that nobody may open."""
    near, far = pty.openpty()
    port = os.ttyname(far)
    os.chmod(port, 0)
    yield port
    os.close(near)
    os.close(far)


@pytest.mark.parametrize(
    "words",
    [
        ("deploy", "{port}"),
        ("deploy", "{port}", "--remove"),
        ("doctor", "{port}"),
        ("status", "--board", "{port}"),
        ("watch", "--board", "{port}"),
        ("record", "a.db", "--board", "{port}"),
        ("alloc", "memory", "1k", "--owner", "x", "--board", "{port}"),
    ],
    ids=" ".join,
)
def test_who_may_not_open_the_port_is_told_how_to(forbidden, words, tmp_path):
    done = subprocess.run(
        [
            *(_LESS if os.geteuid() == 0 else []),
            *COMMAND,
            *(w.format(port=forbidden) for w in words),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        env=of_command(),
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"boardwarden: You may not open {forbidden}: join the group that owns it "
        "(on Debian: sudo usermod -a -G dialout $USER, then log in again).\n"
    )
    assert list(tmp_path.iterdir()) == []
