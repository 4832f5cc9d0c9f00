"""Where builds are kept: keys, the lock, and how a build becomes visible only when whole.

build/firmware/
    lock                 held while anything is fetched or built
    source/              Debian's source tree
    mpy-cross/KEY/       one a source tree
    work/PORT-KEY/       objects of the last build, reused by make when only our files changed
    TARGET-KEY/          the newest few results: one file each
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from firmware_errors import BuildError, say

_KEEP = 4
_AGENT = "device/manifest.py"  # and what it freezes
_FROZEN = (
    "device/warden",
    "device/mps2",
    "shared_schema/warden_schema",
    "host/boardwarden/deploy/parts",
)
_NOT_SOURCE = (".git", "__pycache__")


@contextlib.contextmanager
def lock(root: Path) -> Iterator[None]:
    """One build at a time: a second caller waits, and then finds the first one's result."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build to end")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def frozen_files(repo: Path, manifest: str = _AGENT, *modules: str) -> dict[str, bytes]:
    """What goes into the firmware from this repository, and its C modules: name and contents."""
    files: dict[str, bytes] = {}
    with_agent = manifest == _AGENT or _AGENT in (repo / manifest).read_text()
    for name in (manifest, *((_AGENT, *_FROZEN) if with_agent else ()), *modules):
        top = repo / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files[path.relative_to(repo).as_posix()] = path.read_bytes()
    return files


def contents_key(files: dict[str, bytes], *words: str) -> str:
    digest = hashlib.sha256()
    for word in words:
        digest.update(word.encode() + b"\0")
    for name, data in files.items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:12]


def tree_key(tree: Path) -> str:
    """A source tree's state by names, sizes and times: reading all of it would take too long."""
    digest = hashlib.sha256(str(tree).encode())
    for folder, folders, names in os.walk(tree):
        folders[:] = sorted(f for f in folders if f not in _NOT_SOURCE and f[:6] != "build-")
        for name in sorted(names):
            with contextlib.suppress(OSError):
                stat = os.stat(os.path.join(folder, name))
                digest.update(f"{folder}/{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:12]


def mirror(files: dict[str, bytes], folder: Path) -> None:
    """Lay `files` out under `folder`, touching only what differs.

    The build reads this copy and not the repository, so that what the key names is what gets
    frozen even when somebody edits meanwhile; times that stay let make do only what is needed.
    """
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, data in files.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


@contextlib.contextmanager
def work_folder(root: Path, target: str, key: str) -> Iterator[Path]:
    """A folder of objects, reused only if its last build had the same `key` and make ended it.

    After a compile error make has removed what is half-made; after a kill nobody has.
    """
    folder = root / "work" / target
    state = folder / "state"
    if not state.exists() or state.read_text() != key:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    state.unlink(missing_ok=True)
    try:
        yield folder
    except BuildError:
        state.write_text(key)
        raise
    state.write_text(key)


def keep(artefact: Path, place: Path) -> Path:
    """Put a finished file into its cache folder in one step; returns where it now is."""
    aside = place.with_name(place.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    shutil.copy2(artefact, aside / artefact.name)
    shutil.rmtree(place, ignore_errors=True)
    aside.rename(place)
    return place / artefact.name


def prune(root: Path, pattern: str) -> None:
    """Drop all but the newest few; a use counts as new, so one that runs is not dropped."""
    builds = sorted(root.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in builds[_KEEP:]:
        shutil.rmtree(old, ignore_errors=True)
