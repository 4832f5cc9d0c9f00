"""Ends the live view in time, whatever its terminal does.

Textual writes through a queue, and its event loop waits while that is full. With a terminal that
stopped reading, or is gone, the loop can stand still for good: signals would not be heard, and the
board's port would stay locked. So a thread looks after the ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from boardwarden._program import SIGNALLED

GRACE_S = 1.0  # from the request to end until the process is made to
_STUCK_GRACE_S = 0.3  # where it cannot end by itself, as what it writes waits
_LOOK_S = 0.1
_STUCK_LOOKS = 12  # a terminal that takes nothing so many times in a row has stopped reading
_PIECE = 256  # characters that are written at once, so that a slow terminal shows progress
_STDIN, _STDOUT = 0, 1  # where it reads and draws
_LEAVE = (
    b"\x1b[<u\x1b[?1000l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[?1049l\x1b[?25h\x1b[?7h"
)


class Screen(io.TextIOWrapper):
    """Writes to standard output in pieces, and shows whether the terminal takes them."""

    pieces = 0  # that it took
    busy = False  # a piece waits

    def write(self, text: str) -> int:
        """Write text; returns when the terminal has taken all of it."""
        self.busy = True
        for start in range(0, len(text), _PIECE):
            super().write(text[start : start + _PIECE])
            self.flush()
            self.pieces += 1
        self.busy = False
        return len(text)


@contextlib.contextmanager
def ends_in_time(end: Callable[[int], object]) -> Iterator[Screen | None]:
    """Call end(exit status) at a signal, or when the terminal is gone; soon after, end the process.

    The status is 128 and the signal's number, SIGHUP's for a terminal that is gone or has stopped
    reading. Whoever leaves the block in time is not ended.

    Textual draws on standard error. Inside the block it gets standard output instead, so that
    `2> FILE` does not hide the view; that is what is yielded. None on Windows, where Ctrl-C is a
    key, and a closed window ends the process.
    """
    before = sys.__stderr__
    if sys.platform == "win32" or before is None:
        yield None
        return
    raw = io.BufferedWriter(io.FileIO(_STDOUT, "w", closefd=False))
    screen = Screen(raw, before.encoding, before.errors)
    watchdog = _Watchdog(end, screen)
    with watchdog.signals():
        sys.__stderr__ = screen  # type: ignore[misc]
        watchdog.start()
        try:
            yield screen
        finally:
            sys.__stderr__ = before  # type: ignore[misc]
            watchdog.stop()


if sys.platform != "win32":
    import fcntl
    import termios

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    class _Watchdog(threading.Thread):
        """Looks at the terminal ten times a second, and at the time once it is to end."""

        def __init__(self, end: Callable[[int], object], screen: Screen) -> None:
            super().__init__(name="boardwarden-watchdog", daemon=True)
            self._end = end
            self._screen = screen
            self._loop = asyncio.get_running_loop()
            self._status = 0
            self._over = threading.Event()
            self._modes = termios.tcgetattr(_STDIN)

        @contextlib.contextmanager
        def signals(self) -> Iterator[None]:
            """Make signals end the view; their handlers run even while the loop stands still."""
            before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        def _on_signal(self, number: int, frame: FrameType | None) -> None:
            self._request(SIGNALLED + number)

        def _request(self, status: int) -> None:
            self._status = self._status or status
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._end, self._status)

        def stop(self) -> None:
            """Stop watching; end the process at once if the terminal is gone."""
            self._over.set()
            self.join()
            if self._status and _look()[0]:
                os._exit(self._status)

        def run(self) -> None:
            """Wait for a reason to end; then end the process if the view does not in time."""
            stuck, progress = 0, (0, 0)
            while not self._status and not self._over.wait(_LOOK_S):
                (gone, takes), before = _look(), progress
                # A slow line may have no room for seconds, while what waits becomes less.
                progress = self._screen.pieces, _queued()
                stuck = 0 if takes or progress != before else stuck + 1
                if gone or stuck >= _STUCK_LOOKS:
                    self._request(SIGNALLED + signal.SIGHUP)
            if not self._over.wait(_STUCK_GRACE_S if stuck >= _STUCK_LOOKS else GRACE_S):
                self._leave()
                os._exit(self._status)

        def _leave(self) -> None:
            """Restore the terminal, if it still takes output."""
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(_STDIN, termios.TCSANOW, self._modes)
                if _look() == (False, True):
                    os.write(_STDOUT, _LEAVE)

    def _look() -> tuple[bool, bool]:
        """Return whether the terminal is gone, and whether it takes output."""
        poll = select.poll()
        poll.register(_STDIN, 0)
        poll.register(_STDOUT, select.POLLOUT)
        found = poll.poll(0)
        gone = any(events & (select.POLLHUP | select.POLLERR) for _, events in found)
        return gone, any(events & select.POLLOUT for _, events in found)

    def _queued() -> int:
        """Return how many bytes wait to be sent; 0 on a pseudo-terminal, which does not tell."""
        try:
            return int.from_bytes(fcntl.ioctl(_STDOUT, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return 0
