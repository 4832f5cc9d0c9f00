"""How many bytes of heap a program takes on a 32-bit board: counted by running it there.

On the unix port built for 32 bits, and on the Cortex-M3 in QEMU. After a collection, in a fresh
interpreter, once an application has 300 names of its own: the pool of names grows by doubling, and
with the pool in the figure one more name could cost 4.5 KB. So a figure is what the heap holds,
less the pool, plus the entries of the pool that the program's names take.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from firmware_errors import BuildError
from rawrepl import RawRepl

_NAME_BYTES = 7  # of the pool: a pointer, a hash of two bytes, a length
_LIB = "_lib"  # as long as a board's /lib: MicroPython keeps the path of each file that it loads
_QEMU = "qemu-system-arm"
_QEMU_OPTIONS = "-M mps2-an385 -nographic -monitor null -semihosting -serial pty -serial pty"
_QEMU_RAM = 0x21000000  # of the board, and outside of MicroPython's heap

_BEFORE = """
import gc, micropython, sys
try:
    import asyncio
except ImportError:
    pass
class _Application: pass
for _i in range(300):
    getattr(_Application, 'application_name_%d' % _i, None)
def _count(_label):
    for _i in range(3):
        gc.collect()
    print('@', _label, gc.mem_alloc())
    micropython.qstr_info()
_count('before')
_count('before')
"""
_ROMFS = """
import vfs
vfs.mount(vfs.VfsRom({image}), '/agent')
sys.path.insert(0, '/agent')
"""
_UNIX_IMAGE = "open({path!r}, 'rb').read()"
_QEMU_IMAGE = "__import__('uctypes').bytearray_at({address}, {size})"
# The same files, but not in memory as far as MicroPython can see: each is read into the heap.
_COPIED = """
import io
class _File(io.IOBase):
    def __init__(self, file): self._file = file
    def readinto(self, buffer): return self._file.readinto(buffer)
    def ioctl(self, request, argument): return self._file.ioctl(request, argument) if 0 else 0
class _Files:
    def __init__(self, files): self._files = files
    def mount(self, readonly, mkfs): pass
    def umount(self): pass
    def stat(self, path): return self._files.stat(path)
    def open(self, path, mode): return _File(self._files.open(path, mode))
vfs.umount('/agent')
vfs.mount(_Files(vfs.VfsRom({image})), '/agent')
"""
_COUNTED = re.compile(
    r"^@ (\S+) (\d+)\s+qstr pool: n_pool=\d+, n_qstr=(\d+), n_str_data_bytes=(\d+), "
    r"n_total_bytes=(\d+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Count:
    """The heap of a step of a program: `bytes`, of which `name_bytes` in the pool for `names`."""

    bytes: int
    names: int
    name_bytes: int

    def __add__(self, other: Count) -> Count:
        return Count(
            self.bytes + other.bytes, self.names + other.names, self.name_bytes + other.name_bytes
        )


def romfs(files: Mapping[str, bytes]) -> bytes:
    """The image of a file system that is read in place, with these files."""
    writer = VfsRomWriter()
    tree: dict[str, dict[str, bytes]] = {}
    for name, data in files.items():
        folder, _, file = name.rpartition("/")
        tree.setdefault(folder, {})[file] = data
    for folder, members in sorted(tree.items()):
        if folder:
            writer.opendir(folder)
        for file, data in sorted(members.items()):
            writer.mkfile(file, data)
        if folder:
            writer.closedir()
    return bytes(writer.finalise())


def parse(output: str) -> dict[str, Count]:
    """What each step of a program has added, by its label; raise BuildError if it did not end."""
    found = [(m[1], [int(m[i]) for i in range(2, 6)]) for m in _COUNTED.finditer(output)]
    if not output.rstrip().endswith("@done"):
        raise BuildError("the program that counts ended early:\n" + output[-2000:])
    steps = {}
    for (_, before), (label, after) in zip(found[1:], found[2:]):  # noqa: B905, RUF007  # pairwise
        alloc, names, strings, total = (now - then for then, now in zip(before, after, strict=True))
        entries = names * _NAME_BYTES
        steps[label] = Count(alloc - (total - strings) + entries, names, entries + strings)
    return steps


class Unix32:
    """The unix port of 32 bits; `frozen`: with the agent in it."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def count(
        self, steps: Mapping[str, str], files: Mapping[str, bytes] | None, in_place: bool = False
    ) -> dict[str, Count]:
        """What each step takes, the agent being in `files`; in_place: as a ROMFS, else copied."""
        with tempfile.TemporaryDirectory(prefix="boardwarden-") as place:
            mount = ""
            if files and in_place:
                image = Path(place) / "image"
                image.write_bytes(romfs(files))
                mount = _ROMFS.format(image=_UNIX_IMAGE.format(path=str(image)))
            return parse(self.run(_program(mount, steps), {} if in_place else files or {}))

    def run(self, program: str, files: Mapping[str, bytes]) -> str:
        """What a program prints that can import these files."""
        with tempfile.TemporaryDirectory(prefix="boardwarden-") as place:
            for name, data in files.items():
                path = Path(place) / _LIB / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            (Path(place) / "main.py").write_text(program)
            done = subprocess.run(
                [str(self._program), "main.py"],
                cwd=place,
                env={**os.environ, "MICROPYPATH": f"{_LIB}:.frozen"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=60,
                check=False,
            )
        return done.stdout + done.stderr


class Qemu:
    """The Cortex-M3 in QEMU."""

    def __init__(self, firmware: Path) -> None:
        self._firmware = firmware

    def count(
        self, steps: Mapping[str, str], files: Mapping[str, bytes] | None, in_place: bool = False
    ) -> dict[str, Count]:
        """As of Unix32."""
        with _repl(self._firmware) as repl:
            copied = ""
            if files:
                image = mount_romfs(repl, files)
                copied = "" if in_place else _COPIED.format(image=image)
            output, error = repl.execute(_program(copied, steps), 60)
        return parse((output + error).replace("\r\n", "\n"))


def _program(mount: str, steps: Mapping[str, str]) -> str:
    text = "import sys\n" + mount + _BEFORE
    for label, step in steps.items():
        text += f"{step}\n_count({label!r})\n"
    return text + "print('@done')\n"


def mount_romfs(repl: RawRepl, files: Mapping[str, bytes]) -> str:
    """Let programs on the board import these files in place; return what gives the image there."""
    data = romfs(files)
    _store(repl, data)
    image = _QEMU_IMAGE.format(address=_QEMU_RAM, size=len(data))
    _execute(repl, "import sys\n" + _ROMFS.format(image=image))
    return image


def _store(repl: RawRepl, data: bytes) -> None:
    """Put bytes into the board's RAM outside of the heap."""
    _execute(repl, "import uctypes\nfrom binascii import a2b_base64\n")
    for start in range(0, len(data), 3072):
        piece = data[start : start + 3072]
        place = f"uctypes.bytearray_at({_QEMU_RAM + start}, {len(piece)})"
        _execute(repl, f"{place}[:] = a2b_base64({base64.b64encode(piece)!r})\n")


def _execute(repl: RawRepl, program: str) -> None:
    _, error = repl.execute(program, 60)
    if error:
        raise BuildError(error)


@contextmanager
def _repl(firmware: Path) -> Iterator[RawRepl]:
    qemu = shutil.which(_QEMU)
    if qemu is None:
        raise BuildError(f"{_QEMU} is missing: apt-get install {_QEMU}")
    command = [qemu, *_QEMU_OPTIONS.split(), "-kernel", str(firmware)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert process.stdout is not None
            ports: list[str] = []
            while len(ports) < 2:
                found = re.search(rb"redirected to (\S+) ", process.stdout.readline())
                if found is None:
                    raise BuildError("QEMU ended before it opened its serial ports")
                ports.append(found[1].decode())
            repl = RawRepl(ports[0])
            try:
                repl.enter()
                yield repl
            finally:
                repl.close()
        finally:
            process.kill()
