"""What is in a .mpy file: the functions, with what each takes, and how much is machine code.

https://docs.micropython.org/en/latest/reference/mpyfiles.html; version 6, as py/persistentcode.c
reads it. Names that every MicroPython has (static ones) are numbers in the file, and told as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_BYTECODE, _NATIVE, _VIPER, _ASSEMBLER = range(4)
# Of the static names those that a function can have, as py/makeqstrdata.py numbers them.
_STATIC = {
    7: "<module>",
    9: "__call__",
    12: "__enter__",
    13: "__exit__",
    14: "__getattr__",
    17: "__init__",
    71: "close",
    83: "find",
    125: "read",
    138: "send",
    159: "update",
    162: "value",
    164: "write",
}
_STR, _BYTES, _INT, _FLOAT, _COMPLEX, _TUPLE = 5, 6, 7, 8, 9, 10


class NotMpy(ValueError):
    """The bytes are no .mpy file of a version that is read here."""


@dataclass
class Code:
    """A function, the body of a class, or the module itself; `bytes`: of code, as it is loaded.

    words: of its frame, variables and stack, with three for each `try` inside another; 0 for
    machine code.
    """

    name: str
    native: bool
    bytes: int
    words: int = 0
    children: list[Code] = field(default_factory=list)

    def walk(self, path: str = "") -> Iterator[tuple[str, Code]]:
        """This one and all below it, each with the names that lead to it."""
        path = f"{path}.{self.name}" if path else self.name
        yield path, self
        for child in self.children:
            yield from child.walk("" if path == "<module>" else path)


@dataclass
class MpyFile:
    names: list[str]
    objects: int
    code: Code


def native_bytes(data: bytes) -> int:
    """The bytes of heap that a file's machine code takes on a board: whole blocks of 16."""
    codes = [code for _, code in read(data).code.walk() if code.native]
    return sum(-(-code.bytes // 16) * 16 for code in codes)


def read(data: bytes) -> MpyFile:
    """Take a file apart; raise NotMpy where it is none."""
    if data[:2] != b"M\x06":
        raise NotMpy("not a .mpy file of version 6")
    return _Reader(data).file()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 4
        self._names: list[str] = []

    def file(self) -> MpyFile:
        names, objects = self._uint(), self._uint()
        self._names = [self._name() for _ in range(names)]
        for _ in range(objects):
            self._object()
        return MpyFile(self._names, objects, self._code())

    def _take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise NotMpy("the file ends too early")
        self._at += count
        return piece

    def _uint(self) -> int:
        value = 0
        while True:
            byte = self._take(1)[0]
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                return value

    def _name(self) -> str:
        length = self._uint()
        if length & 1:
            return _STATIC.get(length >> 1, f"<static {length >> 1}>")
        return self._take((length >> 1) + 1)[:-1].decode(errors="replace")

    def _object(self) -> None:
        kind = self._take(1)[0]
        if kind == _TUPLE:
            for _ in range(self._uint()):
                self._object()
        elif kind >= _STR:
            length = self._uint()
            self._take(length + (1 if kind in (_STR, _BYTES) else 0))

    def _code(self) -> Code:
        head = self._uint()
        kind, has_children, length = head & 3, head & 4, head >> 3
        data = self._take(length)
        name = ""
        if kind == _BYTECODE:
            name = self._names[_name_of(data)]
        elif kind == _NATIVE:
            name = self._names[_name_of(data[self._uint() :])]
        else:
            self._uint()  # scope flags: what is made from Python has no more data after them
            if kind == _ASSEMBLER:
                self._uint()
                self._uint()
            name = "<viper>"
        children = [self._code() for _ in range(self._uint())] if has_children else []
        words = _words_of(data) if kind == _BYTECODE else 0
        return Code(name, kind != _BYTECODE, length, words, children)


def _name_of(prelude: bytes) -> int:
    """The index of a function's name, which stands behind the two numbers that begin a prelude."""
    at = 0
    for _ in range(2):  # the signature, and the sizes
        while prelude[at] & 0x80:
            at += 1
        at += 1
    value = 0
    while True:
        value = value << 7 | prelude[at] & 0x7F
        if not prelude[at] & 0x80:
            return value
        at += 1


def _words_of(prelude: bytes) -> int:
    """The words of a function's frame: py/bc.h, MP_BC_PRELUDE_SIG_DECODE_INTO."""
    state, tries = prelude[0] >> 3 & 15, prelude[0] >> 2 & 1
    at = 0
    while prelude[at] & 0x80:
        at += 1
        state |= (prelude[at] & 0x30) << 2 * (at - 1)
        tries |= (prelude[at] & 0x02) << at - 1
    return state + 1 + 3 * tries
