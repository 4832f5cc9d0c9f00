"""The files that hold a fleet's secret, and what of it goes to a board.

docs/security.md has their form. No secret is ever in a message, a log or a process list.
"""

from __future__ import annotations

import os
import re
import secrets
from importlib import import_module
from pathlib import Path

from warden_schema import ids

from ._paths import is_shared, reason, write_new
from ._protocol.keys import KEY_ENVIRONMENT, Secret, board_key
from .errors import KeyFileError

KEYRING = "keyring:"  # before the name of an entry of the system's keyring
BOARD_FILE = "warden.keys"  # on the board, in the folder that it starts in
_HEAD = "boardwarden key 1 "
_RIGHTS = ids.RIGHTS[ids.OBSERVE :]
_MAX_BYTES = 1000
_SECRET_LIKE = re.compile("[0-9a-fA-F]{32}")
_SERVICE = "boardwarden"


def new_secret(right: str) -> Secret:
    """Return a new secret of 32 random bytes, good for "observe" or "control"."""
    return Secret(ids.RIGHTS.index(right), (secrets.token_bytes(ids.KEY_BYTES),))


def renewed(secret: Secret) -> Secret:
    """Return a new secret of the same right, with the present one as the former."""
    return Secret(secret.right, (secrets.token_bytes(ids.KEY_BYTES), secret.generations[0]))


def without_former(secret: Secret) -> Secret:
    """Return a secret without its former generation."""
    return Secret(secret.right, secret.generations[:1])


def board_file(secret: Secret, unique_id: bytes, before: bytes = b"") -> bytes:
    """Return what BOARD_FILE is to hold on a board: one line for each right and generation.

    before: what it holds; keys of a right that the secret is not good for stay.
    """
    rights = range(ids.OBSERVE, secret.right + 1)
    lines = [
        f"{ids.RIGHTS[right]} {board_key(each, right, unique_id).hex()}\n".encode()
        for right in rights
        for each in secret.generations
    ]
    words = [ids.RIGHTS[right].encode() for right in rights]
    others = [line + b"\n" for line in before.splitlines() if line.split(b" ")[0] not in words]
    return b"".join([*lines, *others])


def load(place: str | Path) -> Secret:
    """Return the secret in a file, or in a keyring's entry; raise KeyFileError if it is none."""
    return _parsed(str(place), _read(str(place)))


def save(place: str | Path, secret: Secret, replace: bool = False) -> None:
    """Write a secret to a file of mode 0600, or to a keyring's entry; raise KeyFileError.

    replace: whether there may be one already.
    """
    name = str(place)
    text = _HEAD + ids.RIGHTS[secret.right] + "\n"
    text += "".join(each.hex() + "\n" for each in secret.generations)
    if name.startswith(KEYRING):
        if not replace and _in_keyring(name):
            raise KeyFileError(f"{name} is there already; nothing was changed.", name)
        if _in_keyring(name, text) != text:
            raise KeyFileError("The system's keyring does not keep what it is given.", name)
        return
    final = os.path.realpath(name)  # a link stays one
    target = f"{final}.{secrets.token_hex(4)}.new" if replace else name
    try:
        write_new(target, text, 0o600)
        if replace:
            try:
                os.replace(target, final)
            except OSError:
                os.unlink(target)
                raise
    except FileExistsError:
        raise KeyFileError(f"{name} is there already; nothing was changed.", name) from None
    except OSError as error:
        raise KeyFileError(f"{name} cannot be written: {reason(error)}.", name) from None


def from_environment() -> Secret | None:
    """Return the secret that the environment names, None if it names none."""
    place = os.environ.get(KEY_ENVIRONMENT, "")
    return load(place) if place else None


def _in_keyring(name: str, text: str | None = None) -> str | None:
    """Return what an entry of the keyring holds, once a text is put there where one is given."""
    entry = name.removeprefix(KEYRING)
    if not entry:
        raise KeyFileError(f"{KEYRING} takes the name of an entry, as {KEYRING}fleet.", name)
    try:
        keyring = import_module("keyring")
    except ImportError:
        raise KeyFileError(
            f"{KEYRING} needs keyring: pip install 'boardwarden[keyring]'.", name
        ) from None
    try:
        if text is not None:
            keyring.set_password(_SERVICE, entry, text)
        found: str | None = keyring.get_password(_SERVICE, entry)
    except Exception as error:  # there is none, or it is locked: each has errors of its own
        why = str(error).partition(". ")[0].rstrip(".") or type(error).__name__
        raise KeyFileError(f"The system's keyring cannot be used: {why}.", name) from None
    return found


def _read(name: str) -> str:
    if name.startswith(KEYRING):
        text = _in_keyring(name)
        if text is None:
            entry = name.removeprefix(KEYRING)
            raise _cannot_read(name, f"The keyring has no entry {entry!r} of boardwarden.")
        return text
    try:
        with open(name, "rb") as file:
            if is_shared(file):
                raise KeyFileError(f"Others may read {name}: chmod 600 it, or renew the key.", name)
            return file.read(_MAX_BYTES).decode("ascii")
    except UnicodeDecodeError:
        return ""
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        why = reason(error) if isinstance(error, OSError) else "no such name"
        raise _cannot_read(name, f"The key file {name} cannot be read: {why}.") from None


def _cannot_read(name: str, message: str) -> KeyFileError:
    """Return the error; who gave a secret, or most of one, is not shown it again."""
    if _SECRET_LIKE.search(name):
        return KeyFileError(f"--key-file and {KEY_ENVIRONMENT} take the name of a file, not a key.")
    return KeyFileError(message, name)


def _parsed(name: str, text: str) -> Secret:
    head, *lines = text.splitlines() or [""]
    right = head.removeprefix(_HEAD)
    wrong = KeyFileError(
        f"{name} is no key file of boardwarden; `boardwarden key new` makes one.", name
    )
    if not head.startswith(_HEAD) or right not in _RIGHTS or not 1 <= len(lines) <= 2:
        raise wrong
    try:
        generations = tuple(bytes.fromhex(line) for line in lines)
    except ValueError:
        raise wrong from None
    if any(len(each) != ids.KEY_BYTES or _is_typed(each) for each in generations):
        raise wrong
    return Secret(ids.RIGHTS.index(right), generations)


def _is_typed(secret: bytes) -> bool:
    """Tell whether bytes are what somebody may have typed, or no random ones at all."""
    return secret.isascii() or len(set(secret)) < ids.KEY_BYTES // 4
