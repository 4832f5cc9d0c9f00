"""A link over streams that `select.poll` knows: stdin and stdout, a UART, a USB serial port.

`poll` says that a stream takes something, not how much; a longer write may wait for up to half a
second where nobody reads (USB CDC on rp2, stm32, samd). `window` therefore bounds what may be
under way unacknowledged: as much as the smallest buffer of these ports holds.
"""

import select
import sys

from micropython import const

_WINDOW_BYTES = const(256)
_POLLHUP = const(16)  # as `select` has it
_ICANON = const(2)  # as Linux has it, and the two places in what tcgetattr() returns
_LOCAL_FLAGS = const(3)
_SPECIAL = const(6)


class StreamLink:
    """Reads from `source`, writes to `sink`, both without waiting; they may be the same."""

    window = _WINDOW_BYTES

    def __init__(self, source, sink=None):
        self._source = source
        self._sink = sink or source
        readable = select.poll()
        readable.register(source, select.POLLIN)
        self._readable = readable.ipoll  # bound methods are objects: made once
        self._readinto = source.readinto
        self._any = getattr(source, "any", None)  # a UART tells how much has arrived
        writable = select.poll()
        writable.register(self._sink, select.POLLOUT)
        self._writable = writable.ipoll
        self.waitable = source  # what an event loop may wait on; None once it has ended
        self._byte = bytearray(1)
        self._terminal = _Terminal.of(source) if self._any is None else None

    def read(self, buf):
        """Read what has arrived into buf; return the count."""
        if self.waitable is None:
            return 0
        if self._any is not None:
            count = min(self._any(), len(buf))
            return self._readinto(buf, count) or 0 if count else 0
        ready = _flags(self._readable)
        if not ready:
            return 0
        if self._terminal is None:
            return self._read_bytes(buf)
        count = _taken(self._readinto, buf) or 0
        if not count and ready & _POLLHUP:  # else another thread was quicker
            self._end()
        return count

    def _read_bytes(self, buf):
        readable = self._readable
        readinto = self._readinto
        byte = self._byte
        count = 0
        room = len(buf)
        while count < room:
            for _ in readable(0):
                break
            else:
                break
            try:
                got = readinto(byte)  # more would wait for more
            except OSError:
                got = 0
            if not got:
                if got is not None:
                    self._end()
                break
            buf[count] = byte[0]
            count += 1
        return count

    def write(self, buf, start, end):
        """Write buf[start:end] if the stream takes it now; return the count."""
        if not _flags(self._writable):
            return 0
        try:
            return self._sink.write(buf, start, end - start) or 0
        except OSError:
            return 0

    def close(self):
        """Leave the streams to their owner."""
        self._end()
        if self._terminal is not None:
            self._terminal.restore()
            self._terminal = None

    def _end(self):
        self.waitable = None


# Functions of their own, so that a poll that finds nothing takes no frame from the heap: `agent`.


def _flags(ipoll):
    """Return what the one stream of a poller is ready for."""
    for entry in ipoll(0):
        return entry[1]
    return 0


def _taken(readinto, buf):
    try:
        return readinto(buf)
    except OSError:
        return 0


class _Terminal:
    """A raw terminal of the unix port, set to give what there is, be it nothing (VMIN 0).

    Other streams without any() wait for as much as they are asked for, so they are read byte by
    byte. MicroPython's REPL and input() set the terminal for themselves, as long as they read: an
    agent that runs in another thread meanwhile waits for more than has arrived.
    """

    def __init__(self, fd):
        from termios import tcgetattr, tcsetattr

        self._fd = fd
        self._set = tcsetattr
        self._mode = tcgetattr(fd)
        if self._mode[_LOCAL_FLAGS] & _ICANON:
            raise ValueError("it gives whole lines")
        mode = list(self._mode)
        mode[_SPECIAL] = [0 if isinstance(item, int) else item for item in mode[_SPECIAL]]
        tcsetattr(fd, 0, mode)

    @staticmethod
    def of(stream):
        """Return the one that a stream is, or None."""
        try:
            return _Terminal(stream.fileno()) if sys.platform == "linux" else None
        except (ImportError, AttributeError, OSError, ValueError):
            return None

    def restore(self):
        """Set it as it was, if it is still there."""
        try:
            self._set(self._fd, 0, self._mode)
        except OSError:
            pass
