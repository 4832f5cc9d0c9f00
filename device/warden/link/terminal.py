"""The terminal of the unix port, as a link."""

from termios import tcgetattr, tcsetattr

from micropython import const

from warden.link.stream import StreamLink, read_once

_POLLHUP = const(16)  # as `select` has it
_ICANON = const(2)  # as Linux has it, and the two places in what tcgetattr() returns
_LOCAL_FLAGS = const(3)
_SPECIAL = const(6)


class TerminalLink(StreamLink):
    """Reads a raw terminal without waiting (VMIN 0); leaves any other stream as it is.

    MicroPython's REPL and input() set the terminal for themselves, as long as they read: an agent
    that runs in another thread meanwhile waits for more than has arrived.
    """

    def __init__(self, source, sink):
        super().__init__(source, sink)
        self.mode = None  # of the terminal, as it was
        try:
            mode = tcgetattr(source.fileno())
            if not mode[_LOCAL_FLAGS] & _ICANON:  # else it gives lines
                self.mode = mode
                mode = list(mode)
                mode[_SPECIAL] = [0 if isinstance(item, int) else item for item in mode[_SPECIAL]]
                tcsetattr(source.fileno(), 0, mode)  # VMIN 0
        except (AttributeError, OSError):
            self.mode = None

    def read(self, buf):
        """Read what has arrived into buf; return the count."""
        if self.mode is None or self.waitable is None:
            return super().read(buf)
        ready = self.flags(self.source)
        if not ready:
            return 0
        count = read_once(self.source, buf) or 0
        if not count and ready & _POLLHUP:  # else another thread was quicker
            self.waitable = None
        return count

    def close(self):
        """Leave the terminal as it was."""
        self.waitable = None
        if self.mode is not None:
            try:
                tcsetattr(self.source.fileno(), 0, self.mode)
            except OSError:  # it is not there any more
                pass
