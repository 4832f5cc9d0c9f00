"""What deploy put on a board: a text file among the agent's own, on the board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .parts import PACKAGES
from .programs import MANIFEST

NAME = f"warden/{MANIFEST}"
_MADE_LIB = "# made lib"


@dataclass(frozen=True)
class Manifest:
    """`files`: SHA-256 in hexadecimal by name below lib; `made_lib`: lib was not there before."""

    files: Mapping[str, str] = field(default_factory=dict)
    made_lib: bool = False

    def text(self, version: str, architecture: str) -> bytes:
        """Return the file's content."""
        lines = [f"# put here by boardwarden {version}, for {architecture}"]
        lines += [_MADE_LIB] if self.made_lib else []
        lines += [f"{digest} {name}" for name, digest in sorted(self.files.items())]
        return "".join(f"{line}\n" for line in lines).encode()


def parse(text: bytes | None) -> Manifest:
    """Return what a file says; names outside of the packages, however they came there, are none."""
    lines = (text or b"").decode(errors="replace").splitlines()
    files = {}
    for line in lines:
        digest, _, name = line.partition(" ")
        package, _, rest = name.partition("/")
        if package in PACKAGES and rest and "/" not in rest and rest != "..":
            files[name] = digest
    return Manifest(files, _MADE_LIB in lines)
