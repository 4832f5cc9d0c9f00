"""Keeps two recorders from one file, and tells that file from another of its name."""

from __future__ import annotations

import os
from pathlib import Path

from boardwarden._paths import reason
from boardwarden.errors import RecordingError

try:
    import fcntl
except ImportError:  # Windows: SQLite keeps the file whole, and there is no error
    fcntl = None  # type: ignore[assignment]


class FileLock:
    """Holds `FILE-lock` until release(); the system lets go of it if the process is killed.

    Not the recording itself: a second open() and close() of that would drop SQLite's own locks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + "-lock")
        self._file: int | None = None
        if fcntl is None:
            return
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._close()
            raise RecordingError(f"Another boardwarden is recording to {path}.") from None
        except OSError as error:
            self._close()
            raise RecordingError(f"{path} cannot be written: {reason(error)}.") from None

    def release(self) -> None:
        """Release the lock."""
        if self._file is not None:
            if file_id(self._path) == file_id(self._file):  # else it is another recorder's
                self._path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def file_id(file: Path | int) -> tuple[int, int] | None:
    """Return what tells a file from others, of its name or descriptor; None if it is not there."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino
