"""Files and folders: whether one is there, why not, whether others may read it; and new ones."""

from __future__ import annotations

import errno
import os
import stat
from os import PathLike
from pathlib import Path
from typing import IO, Any

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


def reason(error: OSError) -> str:
    """Return the system's words for what went wrong, as they stand inside a sentence."""
    return (error.strerror or type(error).__name__).lower()


def absence(path: Path, what: str) -> str | None:
    """Return in a sentence that there is no such file, or why that cannot be known; else None.

    Path's own functions raise what stops them.
    what: "file", "recording", … or "folder", which has to be one.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in _NOT_THERE:
            return f"There is no {what} {path}."
        return f"Cannot look at {path}: {reason(error)}."
    is_it = stat.S_ISDIR if what == "folder" else stat.S_ISREG
    return None if is_it(mode) else f"There is no {what} {path}: that is something else."


def write_new(path: str | PathLike[str], text: str, mode: int = 0o666) -> None:
    """Write a text to a file that is not there yet, all of it or none; raise OSError.

    mode: the file's, less the process's mask.
    """
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(number)
    except BaseException:
        os.unlink(path)  # now it is this one's
        raise


def is_shared(file: IO[Any]) -> bool:
    """Return whether others may read or change an open file; False where nothing tells."""
    return os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077 != 0
