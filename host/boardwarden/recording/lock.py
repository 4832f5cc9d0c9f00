"""One recorder a file: a second one would tell of gaps and boots that are none."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import RecordingError

try:
    import fcntl
except ImportError:  # Windows: SQLite keeps the file whole, and nobody is told
    fcntl = None  # type: ignore[assignment]


class Lock:
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
            raise RecordingError(f"{path} cannot be written: {error.strerror}.") from None

    def release(self) -> None:
        """Let others have it."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
