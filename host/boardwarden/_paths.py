"""Files and folders: whether one is there, why not, and whether others may read it."""

from __future__ import annotations

import errno
import os
import stat
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


def is_shared(file: IO[Any]) -> bool:
    """Return whether others may read or change an open file; False where nothing tells."""
    return os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077 != 0
