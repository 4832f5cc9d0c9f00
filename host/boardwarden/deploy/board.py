"""What deploying knows of a board, and does on it, in terms of files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from errno import ENOSPC, EROFS

from boardwarden.errors import DeployError

from . import programs
from .choosing import DESKTOP
from .parts import PACKAGES
from .programs import OLD, WORK
from .repl import FileError, Repl

_PIECE_BYTES = 768  # of a file in one program: a small board must hold and compile it
_STEP_BYTES = 4 * _PIECE_BYTES  # after which a file is closed on a board that restarts by itself
_FULL = (ENOSPC, 27)  # 27: EFBIG, how the unix port says it
_READ_ONLY = (EROFS,)
# By the number that a board gives, as py/persistentcode.h numbers them.
_ARCHITECTURES = {
    2: "x64",
    4: "armv6m",
    5: "armv7m",
    7: "armv7emsp",
    8: "armv7emdp",
    9: "xtensa",
    10: "xtensawin",
    11: "rv32imc",
}

Advance = Callable[[int], None]


class DiskFull(DeployError):
    """There is no room on the board's disk."""


@dataclass(frozen=True)
class About:
    """What a board is; `lib` is the folder that the agent goes to, "" where there is none.

    mpy: its `sys.implementation._mpy`, which has architecture and format.
    loaded: boot.py, or on a desktop any program, has imported the agent before.
    """

    machine: str
    firmware: str
    mpy: int
    root: str
    path: tuple[str, ...]
    hashes: bool
    base64: bool
    frozen: str | None
    desktop: bool
    loaded: bool = False

    @property
    def architecture(self) -> str:
        """The architecture as mpy-cross names it, "any" for one that it does not know."""
        return _ARCHITECTURES.get(self.mpy >> 10 & 0x0F, "any")

    @property
    def format(self) -> tuple[int, int]:
        """The version and sub-version of .mpy files that it loads; 0 for none."""
        return self.mpy & 0xFF, self.mpy >> 8 & 0x03

    @property
    def lib(self) -> str:
        """The folder for packages: the first in the path that is named lib, as for mip."""
        found = [place for place in self.path if place.endswith("/lib")]
        usable = [place for place in found if not place.startswith("/rom")]
        return usable[0] if usable else ""


@dataclass(frozen=True)
class Found:
    """What is on a board: sizes in bytes by name, of both packages and of what is being staged."""

    has_lib: bool
    installed: Mapping[str, int]
    staged: Mapping[str, int]
    working: bool
    switching: bool
    free_bytes: int | None


class BoardFiles:
    """A board's files, through its raw REPL. Raises LinkLost and DeployError.

    in_steps: what is written outlasts a restart after each 3 KB, and is continued; it takes longer.
    steps: how many such parts, or whole files, were written.
    """

    def __init__(self, repl: Repl) -> None:
        self.repl = repl
        self.in_steps = False
        self.steps = 0
        self.about = About("", "", 0, "", (), False, False, None, False)

    def probe(self, changing: bool = True) -> About:
        """Stop what runs, start anew without main.py, and find out what the board is.

        changing: files are going to be written, so what an interruption left is mended first.
        """
        self.repl.enter()
        self.about = self._ask()
        if not self.about.desktop:
            self.repl.soft_reset()
            self.about = self._ask()
        if self.about.lib and changing:
            self.repl.call(programs.heal(self.about.root))
        return self.about

    def _ask(self) -> About:
        platform, machine, version, mpy, root, path, hashes, base64, frozen, loaded = (
            self.repl.call(programs.PROBE)
        )
        text = ".".join(str(part) for part in version[:3])
        firmware = f"{text}-{version[3]}" if len(version) > 3 and version[3] else text
        root = root.rstrip("/")
        desktop = platform in DESKTOP
        place = tuple(root + "/lib" if entry == "lib" else entry for entry in path)
        return About(machine, firmware, mpy, root, place, hashes, base64, frozen, desktop, loaded)

    # --- looking --------------------------------------------------------------------------------

    def inspect(self) -> Found:
        """Return which files are on the board."""
        lib = self.about.lib
        has_lib, installed, staged, working, switching, free = self.repl.call(
            programs.inspect(lib, self.about.root or "/")
        )
        return Found(
            *(bool(has_lib), dict(installed), dict(staged)), bool(working), bool(switching), free
        )

    def shadow(self, in_rom: bool) -> str:
        """Return a path of another `warden` that the board finds before that in lib, or "".

        in_rom: leave out the ROMFS, which is looked at by itself.
        """
        about = self.about
        before = about.path[: about.path.index(about.lib)]
        if in_rom:
            before = tuple(place for place in before if place != "/rom/lib")
        folders = [place or about.root for place in before if place != ".frozen"]
        names = [
            f"{folder}/{package}{ending}"
            for folder in folders
            for package in PACKAGES
            for ending in ("", ".py", ".mpy")
        ]
        found: list[str] = self.repl.call(programs.shadows(names)) if names else []
        return found[0] if found else ""

    def hashes(
        self, folder: str, names: Iterable[str], done: Advance = lambda count: None
    ) -> dict[str, bytes]:
        """Return the SHA-256 of files in a folder; `done` gets how many so far."""
        found: dict[str, bytes] = {}
        wanted = sorted(names)
        if not self.about.hashes:
            for name in wanted:
                found[name] = hashlib.sha256(self.read(f"{folder}/{name}") or b"").digest()
                done(len(found))
            return found
        for start in range(0, len(wanted), 8):
            some = wanted[start : start + 8]
            digests = self.repl.call(programs.hashes(folder, some))
            found.update(zip(some, digests, strict=True))
            done(len(found))
        return found

    def read(self, path: str) -> bytes | None:
        """Return what is in a file, None if there is none."""
        size = self.repl.call(programs.size(path))
        if size is None:
            return None
        data = b""
        while len(data) < size:
            piece: bytes = self.repl.call(programs.read(path, len(data), _PIECE_BYTES))
            if not piece:
                raise DeployError(f"{path} on the board cannot be read to its end.")
            data += piece
        return data

    def existing(self, names: Iterable[str]) -> list[str]:
        """Return the paths of those files that are in the board's root."""
        paths = [f"{self.about.root}/{name}" for name in names]
        found: list[str] = self.repl.call(programs.shadows(paths))
        return found

    def mentions(self, word: bytes) -> bool:
        """Return whether one of the application's files, beside main.py, has the word in it."""
        return bool(self.repl.call(programs.mentions(self.about.root or "/", word)))

    # --- changing -------------------------------------------------------------------------------

    def _change(self, program: str) -> None:
        try:
            self.repl.call(program)
        except FileError as error:
            if error.number in _FULL:
                raise DiskFull("The board's disk is full") from error
            if error.number in _READ_ONLY:
                raise DeployError(
                    "The board's file system is read-only: see that no computer has it mounted as "
                    "a drive, and that boot.py does not mount it so"
                ) from error
            raise DeployError(
                f"{self.about.lib or '/lib'} on the board cannot be written to (error "
                f"{error.number})"
            ) from error

    def make_work(self) -> None:
        """Make the folders that files are staged in."""
        lib = self.about.lib
        work = f"{lib}/{WORK}"
        folders = [lib, work, f"{work}/new", *(f"{work}/new/{package}" for package in PACKAGES)]
        self._change(programs.make_folders(folders))

    def drop_work(self) -> None:
        """Remove what is staged."""
        lib = self.about.lib
        olds = [f"{lib}/{OLD}{package}" for package in PACKAGES]
        self._change(programs.remove([f"{lib}/{WORK}", *olds]))

    def write(self, path: str, data: bytes, done: Advance = lambda count: None) -> None:
        """Write a file; `done` gets how many bytes have been written.

        Raises DeployError when the board's disk is full.
        """
        begin = self._written(path, data) if self.in_steps else 0
        mode = "ab" if begin else "wb"
        for start in range(begin, max(1, len(data)), _PIECE_BYTES):
            end = min(start + _PIECE_BYTES, len(data))
            close = end == len(data) or (self.in_steps and (end - begin) % _STEP_BYTES == 0)
            piece = data[start:end]
            self._change(programs.write(path, piece, mode, close, self.about.base64))
            mode = "ab" if close else ""
            self.steps += close
            done(end)

    def _written(self, path: str, data: bytes) -> int:
        """Return how many bytes of a file are there, as they should be, but not all of them."""
        folder, _, name = path.rpartition("/")
        count = self.repl.call(programs.size(path)) or 0
        if not 0 < count < len(data):
            return 0
        digest = self.hashes(folder, [name])[name]
        return count if digest == hashlib.sha256(data[:count]).digest() else 0

    def switch(self, keep: Iterable[str]) -> None:
        """Replace the old files by the staged ones and those of the old to keep."""
        self._change(programs.begin_switch(self.about.lib, sorted(keep)))
        self.finish_switch()

    def finish_switch(self) -> None:
        """Carry out a switch, or resume one."""
        self._change(programs.switch(self.about.lib))

    def make_folder(self, folder: str) -> None:
        """Make a folder, unless it is there."""
        self._change(programs.make_folders([folder]))

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, and folders with all that is in them."""
        self._change(programs.remove(list(paths)))

    def remove_empty(self, folders: Iterable[str]) -> None:
        """Remove folders that are empty."""
        self._change(programs.remove_empty(list(folders)))

    def replace(self, name: str, data: bytes) -> None:
        """Replace a file in the board's root in one step."""
        lib, root = self.about.lib, self.about.root
        made = f"{lib}/{WORK}/{name.replace('/', '-')}"  # not where complete_start() looks
        self._change(programs.make_folders([lib, f"{lib}/{WORK}"]))
        self.write(f"{made}.part", data)
        if self.read(f"{made}.part") != data:
            raise DeployError(f"{name} arrived damaged on the board")
        self._change(programs.rename(f"{made}.part", made))
        self._change(programs.rename(made, f"{root}/{name}"))

    def rename(self, old: str, new: str) -> None:
        """Rename a file; one that has the new name is replaced."""
        self._change(programs.rename(old, new))

    def complete_start(self, names: Iterable[str]) -> None:
        """Finish what an interruption left of replace()."""
        self._change(programs.complete_start(self.about.lib, self.about.root, list(names)))

    # --- afterwards -----------------------------------------------------------------------------

    def restart(self) -> None:
        """Have the board start as after power-on: boot.py, main.py."""
        if self.about.desktop:
            self.repl.paste(programs.RUN_FILES)
        else:
            self.repl.restart()
