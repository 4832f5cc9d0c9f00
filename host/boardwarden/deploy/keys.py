"""Writes a board's keys through its REPL, and looks whether they are there."""

from __future__ import annotations

from boardwarden._protocol.keys import Secret
from boardwarden.errors import DeployError
from boardwarden.keys import BOARD_FILE, board_file

from .board import BoardFiles
from .repl import Repl
from .user import Interrupts

_UNIQUE_ID = """\
try:
 import machine
 return machine.unique_id()
except (ImportError, AttributeError):
 return b''
"""


def put(address: str, secret: Secret) -> bytes:
    """Write what is derived of a secret to a board, and start its program; return its unique id.

    Keys of a right that the secret is not good for stay. Raises DeployError, LinkLost or a
    ConnectError.
    """
    with Interrupts(), Repl(address) as repl:
        files, unique_id, before = _read(repl)
        wanted = board_file(secret, unique_id, before)
        if wanted != before:
            path = f"{files.about.root}/{BOARD_FILE}"
            files.write(f"{path}.new", wanted)
            if files.read(f"{path}.new") != wanted:
                raise DeployError(f"{BOARD_FILE} arrived damaged: nothing was changed.")
            files.rename(f"{path}.new", path)
        files.restart()
    return unique_id


def has(address: str, secret: Secret) -> tuple[bool, bytes]:
    """Return whether a board has all keys of a secret, and its unique id; start its program."""
    with Interrupts(), Repl(address) as repl:
        files, unique_id, before = _read(repl)
        files.restart()
    lines = board_file(secret, unique_id).splitlines()
    return set(lines) <= set(before.splitlines()), unique_id


def _read(repl: Repl) -> tuple[BoardFiles, bytes, bytes]:
    files = BoardFiles(repl)
    files.probe()
    unique_id: bytes = repl.call(_UNIQUE_ID)
    return files, unique_id, files.read(f"{files.about.root}/{BOARD_FILE}") or b""
