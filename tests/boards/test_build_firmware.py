"""tools/build_firmware.py as a user meets it: its one-sentence errors, and its cache."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import shutil
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest
from places import REPO

TOOLS = REPO / "tools"
TOOL = TOOLS / "build_firmware.py"


def _run(
    *arguments: object, path: str | None = None, timeout: float = 100
) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ) if path is None else {**os.environ, "PATH": path}
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=timeout)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of tools/ by name."""
    monkeypatch.syspath_prepend(TOOLS)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The fewest files that look like a MicroPython tree: every step of a build of it fails."""
    for name in ("py/mpconfig.h", "mpy-cross/Makefile", "ports/unix/Makefile"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("all:\n\t@echo the compiler is unhappy; exit 3\n")
    return tmp_path


def test_an_invalid_source_folder_is_named(tmp_path: Path) -> None:
    done = _run("unix", "--source", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"{tmp_path} is not a MicroPython source tree" in done.stderr


def test_a_missing_tool_names_its_package(source: Path, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    done = _run("unix", "--source", source, path=str(empty))
    assert done.returncode == 2
    assert "make is missing: apt-get install make" in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make: apt-get install make")
def test_a_missing_compiler_names_its_package(source: Path, tmp_path: Path) -> None:
    only_make = tmp_path / "bin"
    only_make.mkdir()
    (only_make / "make").symlink_to(str(shutil.which("make")))
    done = _run("unix", "--source", source, path=str(only_make))
    assert done.returncode == 2
    assert "gcc is missing: apt-get install gcc" in done.stderr


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: apt-get install gcc")
def test_a_failing_build_shows_the_end_of_its_log(source: Path) -> None:
    before = sorted(path for path in source.rglob("*"))
    done = _run("unix", "--source", source)
    assert done.returncode == 2
    assert "  | the compiler is unhappy" in done.stderr
    assert "building mpy-cross failed" in done.stderr.splitlines()[-1]
    assert sorted(source.rglob("*")) == before, "the user's tree is only read"


def test_without_apt_the_error_names_the_source_option(tool, tmp_path: Path, monkeypatch) -> None:
    debian, errors = tool("debian_source"), tool("firmware_errors")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.BuildError, match="--source DIR"):
        debian.download(tmp_path / "source")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "debian.sources",
            "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\n"
            "Components: main\nSigned-By: /k/debian-archive-keyring.gpg\n",
            ("http://m.example/debian", "/k/debian-archive-keyring.gpg"),
        ),
        (
            "old.list",
            "# comment\ndeb [arch=amd64 signed-by=/k.gpg] https://m.example/debian/ trixie main\n",
            ("https://m.example/debian/", "/k.gpg"),
        ),
    ],
)
def test_the_archive_comes_from_the_machines_own_sources(
    tool, tmp_path: Path, name, text, expected
) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "a-security.list").write_text(
        "deb https://m.example/debian-security bookworm-security main\n"
    )
    (folder / name).write_text(text)
    assert tool("debian_source").find_archive(tmp_path) == expected


def test_a_machine_without_a_debian_archive_is_refused(tool, tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://m.example/ubuntu noble main\n")
    with pytest.raises(tool("firmware_errors").BuildError, match="no Debian archive"):
        tool("debian_source").find_archive(tmp_path)


def test_an_interrupted_build_is_not_continued(tool, tmp_path: Path) -> None:
    cache = tool("firmware_cache")
    with cache.work_folder(tmp_path, "unix", "key") as work:
        (work / "whole.o").write_text("")
    with contextlib.suppress(KeyboardInterrupt), cache.work_folder(tmp_path, "unix", "key") as work:
        assert (work / "whole.o").exists(), "objects of a build that ended are reused"
        raise KeyboardInterrupt
    with cache.work_folder(tmp_path, "unix", "key") as work:
        assert not (work / "whole.o").exists()


def test_old_builds_are_deleted(tool, tmp_path: Path) -> None:
    cache = tool("firmware_cache")
    for age in range(6):
        folder = tmp_path / f"unix-{age}"
        folder.mkdir()
        os.utime(folder, (1e9 - age, 1e9 - age))
    (tmp_path / "qemu-0").mkdir()
    cache.prune(tmp_path, "unix-*")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["qemu-0", "unix-0", "unix-1", "unix-2", "unix-3"]


def test_the_cache_key_changes_with_the_frozen_files(tool, tmp_path: Path) -> None:
    cache = tool("firmware_cache")
    agent = tmp_path / "device" / "warden"
    agent.mkdir(parents=True)
    (agent / "core.py").write_text("a = 1\n")
    first = cache.contents_key(cache.frozen_files(tmp_path))
    assert cache.contents_key(cache.frozen_files(tmp_path)) == first
    (agent / "core.py").write_text("a = 2\n")
    second = cache.contents_key(cache.frozen_files(tmp_path))
    (agent / "core.py").rename(agent / "heart.py")
    assert len({first, second, cache.contents_key(cache.frozen_files(tmp_path))}) == 3


def test_firmware_without_the_agent_does_not_depend_on_it(tool) -> None:
    targets, cache = tool("build_firmware").TARGETS, tool("firmware_cache")
    for name, target in targets.items():
        files = set(cache.frozen_files(REPO, target.manifest, *target.modules))
        assert ("device/warden/agent.py" in files) is (name not in ("unix32", "qemu-bare"))
        assert ("host/boardwarden/deploy/parts/joining.py" in files) is (
            "device/manifest.py" in files
        )


def test_targets_that_differ_in_what_is_frozen_share_their_objects(tool) -> None:
    targets = tool("build_firmware").TARGETS
    assert targets["unix32"].compiled() == targets["unix32-frozen"].compiled()
    for other in ("qemu-bare", "qemu-bytecode"):
        assert targets["qemu"].compiled() == targets[other].compiled()
    assert len({target.compiled() for target in targets.values()}) == len(targets) - 3


def test_each_target_has_its_own_results(tool) -> None:
    results = tool("build_firmware").results
    assert fnmatch("unix-0123456789ab", results("unix"))
    assert fnmatch("unix-native-0123456789ab", results("unix-native"))
    assert not fnmatch("unix-native-0123456789ab", results("unix"))


def test_only_firmware_with_a_c_module_in_its_target_has_it(tool) -> None:
    targets, cache = tool("build_firmware").TARGETS, tool("firmware_cache")

    def modules(name: str) -> set[str]:
        files = cache.frozen_files(REPO, targets[name].manifest, *targets[name].modules)
        return {Path(file).name for file in files if file.endswith(".c")}

    for port in ("unix", "qemu"):
        assert modules(port) == set()
        assert modules(f"{port}-native") == {"_warden.c"}
        assert modules(f"{port}-probe") == {"_warden.c", "_probe.c"}


def test_a_second_build_waits_for_the_first(tool, tmp_path: Path) -> None:
    cache = tool("firmware_cache")
    with cache.lock(tmp_path), (tmp_path / "lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.alone
@pytest.mark.timeout(300)  # in CI the first call may download and build
def test_a_cached_build_is_instant(tool) -> None:
    built = tool("debian_source").downloaded(REPO / "build" / "firmware" / "source") is not None
    if not built and os.environ.get("CI") != "true":
        pytest.skip("no firmware built yet: python tools/build_firmware.py unix")
    first = _run("unix", timeout=240)
    assert first.returncode == 0, first.stderr
    started = time.monotonic()
    second = _run("unix")
    assert time.monotonic() - started < 5
    assert second.stdout == first.stdout
    assert Path(second.stdout.splitlines()[-1]).is_file()
