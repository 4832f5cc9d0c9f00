"""Images of ROMFS, the file system that MicroPython reads in place: taken apart and made.

The format is described in extmod/vfs_rom.c. An image is a record; so are the folders and files in
it: a kind, a length, and as many bytes. Images made by `mpremote romfs` have three kinds of
records, which are known here. Others, which align data or point to it, would not survive being
moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Union

from boardwarden.errors import DeployError

HEADER = b"\xd2\xcd\x31"  # the kind of an image
_VERBATIM, _FOLDER, _FILE = 2, 4, 5

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
    size = image_size(image[:12])
    if size > len(image):
        raise UnknownImage("it is cut short")
    _, at = _uint(image, len(HEADER))
    return _tree(image[at:size])


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
