"""ROMFS, the file system that MicroPython reads in place: images, and the agent in a board's.

The format is described in extmod/vfs_rom.c. An image is a record; so are the folders and files in
it: a kind, a length, and as many bytes. Images made by `mpremote romfs` have three kinds of
records, which are known here. Others, which align data or point to it, would not survive being
moved.

A board's partition is one image, so it is read, taken apart, made anew with the agent's files in
it, and written. What begins an image is written last: one that is cut short is not taken for an
image. What others have in it is in a file on this machine until the new image is checked.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from boardwarden._paths import reason
from boardwarden.errors import DeployError, LinkLost
from boardwarden.render.text import count, size

from . import programs
from .board import BoardFiles
from .installing import NAME, AgentsFiles, Contents, Manifest, parse_manifest, refuse_another
from .parts import PACKAGES
from .repl import FileError, Repl
from .user import Interrupts, Reporter

HEADER = b"\xd2\xcd\x31"  # the kind of an image
_VERBATIM, _FOLDER, _FILE = 2, 4, 5
_BLANK = (0x00, 0xFF)
LIB = "lib"  # of the image: mounted at /rom, it is /rom/lib in sys.path
_PIECE_BYTES = 1024  # at once, of what is written and read
_ERASE_BYTES = 32768  # at once, as mpremote does: more takes too long for one program

Tree = Mapping[str, Union[bytes, "Tree"]]  # a file is its content, a folder another tree


class UnknownImage(DeployError):
    """A ROMFS image is damaged, or has records that cannot be kept when it is made anew."""


def image_size(begin: bytes) -> int:
    """Return how many bytes an image has, from its first twelve.

    Raises UnknownImage where they are not the begin of one.
    """
    if not begin.startswith(HEADER):
        raise UnknownImage("it is no ROMFS image")
    length, at = _uint(begin, len(HEADER))
    return at + length


def parse(image: bytes) -> Tree:
    """Return the files and folders of an image; raise UnknownImage where one could get lost."""
    total = image_size(image[:12])
    if total > len(image):
        raise UnknownImage("it is cut short")
    _, at = _uint(image, len(HEADER))
    return _tree(image[at:total])


def _tree(data: bytes) -> Tree:
    found: dict[str, bytes | Tree] = {}
    for kind, payload in _records(data):
        if kind not in (_FOLDER, _FILE):
            raise UnknownImage(f"it has records of kind {kind}")
        length, at = _uint(payload, 0)
        name, rest = payload[at : at + length].decode(), payload[at + length :]
        if name in found:
            raise UnknownImage(f"it has {name} twice")
        found[name] = _tree(rest) if kind == _FOLDER else _content(name, rest)
    return found


def _content(name: str, data: bytes) -> bytes:
    records = list(_records(data))
    if len(records) != 1 or records[0][0] != _VERBATIM:
        raise UnknownImage(f"the data of {name} is not in one piece beside its name")
    return records[0][1]


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, at = _uint(data, at)
        length, at = _uint(data, at)
        if at + length > len(data):
            raise UnknownImage("a record in it is longer than what it is in")
        yield kind, data[at : at + length]
        at += length


def _uint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it."""
    value = 0
    while at < len(data):
        value = value << 7 | data[at] & 0x7F
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise UnknownImage("it ends within a number")


def build(tree: Tree) -> bytes:
    """Return the image with these files and folders."""
    payload = b"".join(_entry(name, entry) for name, entry in tree.items())
    length = _encoded(len(payload))
    if (len(HEADER) + len(length) + len(payload)) % 2:
        length = b"\x80" + length  # an image has an even size
    return HEADER + length + payload


def _entry(name: str, entry: bytes | Tree) -> bytes:
    text = name.encode()
    begin = _encoded(len(text)) + text
    if isinstance(entry, bytes):
        return _record(_FILE, begin + _record(_VERBATIM, entry))
    inside = b"".join(_entry(each, below) for each, below in entry.items())
    return _record(_FOLDER, begin + inside)


def _record(kind: int, payload: bytes) -> bytes:
    return _encoded(kind) + _encoded(len(payload)) + payload


def _encoded(value: int) -> bytes:
    data = bytes([value & 0x7F])
    while value := value >> 7:
        data = bytes([0x80 | value & 0x7F]) + data
    return data


def files(tree: Tree, folder: str = "") -> dict[str, bytes]:
    """Return the contents of all files by their path."""
    found: dict[str, bytes] = {}
    for name, entry in tree.items():
        if isinstance(entry, bytes):
            found[folder + name] = entry
        else:
            found.update(files(entry, f"{folder}{name}/"))
    return found


def with_files(tree: Tree, changes: Mapping[str, bytes | None]) -> Tree:
    """Return a tree with other contents at some paths; None removes a file, then empty folders.

    Raises UnknownImage where a file is in the place of a folder, or the other way round.
    """
    made = dict(tree)
    below: dict[str, dict[str, bytes | None]] = {}
    for path, content in changes.items():
        name, _, rest = path.partition("/")
        there = made.get(name)
        if there is not None and isinstance(there, bytes) == bool(rest):
            raise UnknownImage(f"it has {name} as something else")
        if rest:
            below.setdefault(name, {})[rest] = content
        elif content is None:
            made.pop(name, None)
        else:
            made[name] = content
    for name, inside in below.items():
        folder = made.get(name, {})
        assert not isinstance(folder, bytes)
        changed = with_files(folder, inside)
        if changed:
            made[name] = changed
        else:
            made.pop(name, None)
    return made


# --- a board's partition --------------------------------------------------------------------------


@dataclass(frozen=True)
class Partition:
    """The first ROMFS partition, in bytes.

    image_bytes: of the image that is in it; 0 for a blank one, None for something else.
    """

    size_bytes: int
    block_bytes: int
    is_device: bool  # a block device, else memory that vfs.rom_ioctl() writes to
    image_bytes: int | None


def partition(repl: Repl) -> Partition | None:
    """Ask a board for its ROMFS partition; None where its firmware has none."""
    found = repl.call(programs.PARTITION)
    if found is None:
        return None
    length, block, is_device, begin = found
    image: int | None = None
    if begin.startswith(HEADER):
        with contextlib.suppress(UnknownImage):
            image = image_size(begin)
    elif any(begin == bytes([blank]) * len(begin) for blank in _BLANK):
        image = 0
    return Partition(length, block, bool(is_device), image)


class RomFiles:
    """The files in a ROMFS partition, read once; raises UnknownImage where some could get lost."""

    def __init__(
        self, board: BoardFiles, found: Partition, reporter: Reporter, stop: Interrupts
    ) -> None:
        self._repl = board.repl
        self._about = board.about
        self._found = found
        self._reporter = reporter
        self._stop = stop
        self._agents = AgentsFiles()
        self.image = self._read_image()
        self.tree: Tree = parse(self.image) if self.image else {}

    # --- what is there --------------------------------------------------------------------------

    def _read_image(self) -> bytes:
        total = self._found.image_bytes
        if total is None:
            raise UnknownImage("what is in it is no ROMFS image")
        if total > self._found.size_bytes:
            raise UnknownImage("its image is longer than the partition")
        data = b""
        while len(data) < total:
            data += self._read(len(data), min(_PIECE_BYTES, total - len(data)))
            self._reporter.step("reading the ROMFS", len(data), total)
            self._stop.check()
        return data

    def _read(self, start: int, length: int) -> bytes:
        piece: bytes = self._repl.call(programs.read_rom(start, length))
        if not piece:
            raise DeployError("The ROMFS partition cannot be read to its end")
        return piece

    def _in_lib(self) -> dict[str, bytes]:
        """Return the contents of the files below lib by their names there."""
        lib = self.tree.get(LIB, {})
        return files(lib) if not isinstance(lib, bytes) else {}

    @property
    def listed(self) -> Manifest:
        """What deploy put there; `made_lib`: the partition was blank before."""
        return parse_manifest(self._in_lib().get(NAME))

    @property
    def has_agent(self) -> bool:
        """Whether deploy put an agent there."""
        return bool(self.listed.files)

    @property
    def has_others_in_package(self) -> bool:
        """Whether others have files in the agent's folder: it hides one in the file system."""
        ours = self._ours()
        packages = tuple(f"{package}/" for package in PACKAGES)
        return any(n.startswith(packages) and n not in ours for n in self._in_lib())

    @property
    def others(self) -> int:
        """The number of files that are not the agent's."""
        return len(files(self.tree)) - len(self._ours())

    def _ours(self) -> list[str]:
        listed = self.listed
        return [name for name in self._in_lib() if self._agents.has(name, listed)]

    # --- changing -------------------------------------------------------------------------------

    def planned(self, wanted: Contents) -> bytes:
        """Return the image with the agent's files in the place of older ones.

        Raises DeployError where it does not fit, or where another package has the agent's name.
        """
        there = self._in_lib()
        refuse_another("/rom/lib", there, self._agents, self.listed)
        changes: dict[str, bytes | None] = {f"{LIB}/{name}": None for name in self._ours()}
        changes.update({f"{LIB}/{name}": data for name, data in wanted.items()})
        image = build(with_files(self.tree, changes))
        if len(image) > self._found.size_bytes:
            raise UnknownImage(
                f"with the agent it takes {size(len(image))} and the partition has "
                f"{size(self._found.size_bytes)}"
            )
        return image

    def install(self, wanted: Contents) -> int:
        """Write the agent's files; return the bytes of the image, 0 if it was there as wanted."""
        image = self.planned(wanted)
        if image == self.image:
            return 0
        self._replace(image)
        return len(image)

    def take_away(self) -> int:
        """Remove the agent's files; return how many there were."""
        ours, listed = self._ours(), self.listed
        if not ours:
            return 0
        refuse_another("/rom/lib", self._in_lib(), self._agents, listed)
        tree = with_files(self.tree, {f"{LIB}/{name}": None for name in ours})
        self._replace(b"" if listed.made_lib and not tree else build(tree))
        return len(ours)

    def _replace(self, image: bytes) -> None:
        """Write an image, b"" for none; after an error or Ctrl-C the one of before."""
        self._stop.check()
        copy = self._copy_here() if self.others else None
        try:
            self._write(image)
            self._check(image)
        except LinkLost as error:
            if copy is None:
                raise
            raise LinkLost(f"{error}, and so may be {self._restored_by(copy)}") from error
        except (DeployError, KeyboardInterrupt) as error:
            self._write_back(copy, error)
            raise
        if copy is not None:
            copy.unlink()
        self.image, self.tree = image, parse(image) if image else {}

    def _copy_here(self) -> Path:
        name = f"boardwarden-{hashlib.sha256(self.image).hexdigest()[:8]}.romfs"
        place = Path(name).resolve()
        try:
            place.write_bytes(self.image)
        except OSError as error:
            raise DeployError(
                f"{place} cannot be written ({reason(error)}): it is to keep what is in the "
                "board's ROMFS until the new image is checked"
            ) from error
        return place

    def _restored_by(self, copy: Path) -> str:
        return (
            f"{count(self.others, 'file')} in its ROMFS: `mpremote romfs deploy {copy}` "
            "writes them again"
        )

    def _write_back(self, copy: Path | None, error: BaseException) -> None:
        try:
            self._repl.enter()  # a program may have been cut short
            if not self._same(self.image):
                self._write(self.image)
                self._check(self.image)
        except (DeployError, LinkLost, KeyboardInterrupt) as second:
            if copy is None:
                return  # a blank one, or one with the agent alone
            raise DeployError(
                f"{str(error) or 'Stopped'}, and its ROMFS could not be written back: missing may "
                f"be {self._restored_by(copy)}"
            ) from second
        if copy is not None:
            copy.unlink()

    # --- bytes ----------------------------------------------------------------------------------

    def _write(self, image: bytes) -> None:
        found = self._found
        least = self._erase(max(len(image), 1))
        piece = max(_PIECE_BYTES, least)
        if found.is_device:
            piece = min(piece, found.block_bytes)
        first = self._padded(image[:piece], piece)
        if self._read(0, len(HEADER)) == HEADER:
            self._write_piece(0, bytes(piece))  # a memory that needs no erasing
        total = len(image)
        for start in range(piece, total, piece):
            self._write_piece(start, self._padded(image[start : start + piece], piece))
            self._reporter.step("writing the ROMFS", start, total)
        if image:
            self._write_piece(0, first)
        self._change(programs.END_ROM)
        self._reporter.step("writing the ROMFS", total, total)

    def _padded(self, data: bytes, length: int) -> bytes:
        return data + bytes(length - len(data)) if data else b""

    def _erase(self, length: int) -> int:
        """Erase the blocks that so many bytes are in; return how many are written at once."""
        found, least = self._found, 1
        whole = not found.is_device and found.block_bytes >= found.size_bytes
        step = length if whole else -(-_ERASE_BYTES // found.block_bytes) * found.block_bytes
        for start in range(0, length, step):
            blocks = -(-min(step, length - start) // found.block_bytes) * found.block_bytes
            rest = min(step, length - start) if whole else blocks
            program = programs.erase_rom(start, rest, found.block_bytes, whole, found.is_device)
            least = max(least, int(self._change(program)))
            self._reporter.step("erasing the ROMFS", min(start + step, length), length)
        return least

    def _write_piece(self, start: int, data: bytes) -> None:
        found = self._found
        data = data[: found.size_bytes - start]
        self._change(
            programs.write_rom(start, data, found.block_bytes, found.is_device, self._about.base64)
        )

    def _change(self, program: str) -> Any:
        try:
            return self._repl.call(program)
        except FileError as error:
            raise DeployError(
                f"The ROMFS partition cannot be written to (error {error.number}): `--as files` "
                "puts the agent into the file system"
            ) from error

    def _check(self, image: bytes) -> None:
        if not self._same(image):
            raise DeployError("What was written to the ROMFS partition is not what is in it")

    def _same(self, image: bytes) -> bool:
        """Return whether the partition has this image, b"" for none."""
        if not image:
            return self._read(0, len(HEADER)) != HEADER
        if self._about.hashes:
            there: bytes = self._repl.call(programs.hash_rom(len(image)))
            return there == hashlib.sha256(image).digest()
        pieces = range(0, len(image), _PIECE_BYTES)
        found = (self._read(at, min(_PIECE_BYTES, len(image) - at)) for at in pieces)
        return b"".join(found) == image
