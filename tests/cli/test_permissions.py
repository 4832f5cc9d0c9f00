"""What its user may not open: one sentence, whatever command meets it."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from datetime import datetime, timezone

import pytest
from cli_process import COMMAND
from command_environment import of_command

from boardwarden.models import Cpu, Identity, Memory, Status
from boardwarden.recording import schema
from boardwarden.recording.store import Store

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ports have no owners there")
STATUS = Status(
    memory=Memory(total_bytes=9, used_bytes=5, live_bytes=3),
    cpu=Cpu(uptime_s=1.0),
    last_updated=datetime(2024, 5, 31, tzinfo=timezone.utc),
    board=Identity(boot_id=1),
)
# root may open everything, unless it gives that up.
_LESS = [
    "setpriv",
    *(f"--{kind}=-dac_override,-dac_read_search" for kind in ("bounding-set", "inh-caps")),
]


def run(*words, cwd):
    """Run the command as one who is not root."""
    return subprocess.run(
        [*(_LESS if os.geteuid() == 0 else []), *COMMAND, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=cwd,
        env=of_command(),
    )


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
def test_a_port_without_permission_says_how_to_get_it(forbidden, words, tmp_path):
    done = run(*(word.format(port=forbidden) for word in words), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"boardwarden: You may not open {forbidden}: join the group that owns it "
        "(on Debian: sudo usermod -a -G dialout $USER, then log in again).\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("plot", "secret.db"), "secret.db cannot be read: permission denied."),
        (("plot", "a.db", "-o", "kept/a.png"), "kept/a.png cannot be written: permission denied."),
        (("record", "secret.db", "--list"), "secret.db cannot be read: permission denied."),
        (
            ("record", "secret.db", "--board", "sim"),
            "secret.db cannot be written: permission denied.",
        ),
        (("record", "old.db", "--board", "sim"), "old.db cannot be written: permission denied."),
        (
            ("record", "kept/a.db", "--board", "sim"),
            "kept/a.db cannot be written: permission denied.",
        ),
        (("replay", "a.db", "--policy", "no.toml"), "Cannot read no.toml: permission denied."),
        (("apply", "no.toml", "--board", "sim"), "Cannot read no.toml: permission denied."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_file_without_permission_is_named(tmp_path, words, sentence):
    store = Store(tmp_path / "a.db")
    store.open()
    store.write([schema.sample("sim", STATUS)])
    store.close()
    for name, mode in (("secret.db", 0), ("old.db", 0o444)):
        shutil.copy(tmp_path / "a.db", tmp_path / name)
        (tmp_path / name).chmod(mode)
    (tmp_path / "no.toml").touch(0)
    (tmp_path / "kept").mkdir(0o555)
    before = sorted(tmp_path.rglob("*"))
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == f"boardwarden: {sentence}"
    assert len(done.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["/", ".", "", ".."])
@pytest.mark.parametrize(
    "words",
    [
        ("record", "--board", "sim"),
        ("record", "--list"),
        ("plot",),
        ("replay", "--policy", "w.toml"),
    ],
    ids=" ".join,
)
def test_a_folder_is_no_recording(tmp_path, words, name):
    done = run(*words, name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("boardwarden: ")
    assert len(done.stderr.splitlines()) == 1
    assert not [*tmp_path.iterdir()]


_LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("record", "{}", "--list"),
        ("plot", "{}"),
        ("replay", "{}", "--policy", "w.toml"),
        ("record", "{}/a.db", "--board", "sim"),
        ("record", "{}", "--board", "sim"),
        ("users", "add", "{}", "ann"),
        ("crashes", "--source", "{}", "--board", "sim"),
        ("status", "--board", "sim:{}.py"),
        ("status", "--board", "qemu:{}.elf"),
        ("apply", "{}", "--board", "sim"),
        ("apply", "--undo", "{}"),
        ("key", "new", "{}"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("name", ["closed/x", _LONG])
def test_a_name_that_cannot_be_looked_up_is_one_sentence(words, name, tmp_path):
    (tmp_path / "closed").mkdir(0)
    (tmp_path / "w.toml").touch()
    done = run(*(word.format(name) for word in words), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("boardwarden: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert {each.name for each in tmp_path.iterdir()} == {"closed", "w.toml"}
