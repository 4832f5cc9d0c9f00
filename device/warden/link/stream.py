"""A link over streams that `select.poll` knows: stdin and stdout, a UART, a USB serial port.

`poll` says that a stream takes something, not how much; a longer write may wait for up to half a
second where nobody reads (USB CDC on rp2, stm32, samd). `window` therefore bounds what may be
under way unacknowledged: as much as the smallest buffer of these ports holds.
"""

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
        import select  # not every port has it

        self._source = source
        self._sink = sink or source
        readable = select.poll()
        readable.register(source, select.POLLIN)
        self._ipoll_readable = readable.ipoll  # bound methods are objects: made once
        self._readinto = source.readinto
        self._any = getattr(source, "any", None)  # a UART tells how much has arrived
        writable = select.poll()
        writable.register(self._sink, select.POLLOUT)
        self._ipoll_writable = writable.ipoll
        self.waitable = source  # what an event loop may wait on; None once it has ended
        self._byte = bytearray(1)
        self._mode = None  # of the terminal, as it was
        if self._any is None and sys.platform == "linux":
            self._mode = _set_terminal(source)

    def readable(self):
        """Tell whether something has arrived, or the stream has ended."""
        if self.waitable is not None:
            for _ in self._ipoll_readable(0):
                return True
        return False

    def read(self, buf):
        """Read what has arrived into buf; return the count."""
        if self.waitable is None:
            return 0
        if self._any is not None:
            count = min(self._any(), len(buf))
            return self._readinto(buf, count) or 0 if count else 0
        if self._mode is None:
            return self._read_bytes(buf)
        ready = _flags(self._ipoll_readable)
        if not ready:
            return 0
        count = _read_once(self._readinto, buf) or 0
        if not count and ready & _POLLHUP:  # else another thread was quicker
            self.waitable = None
        return count

    def _read_bytes(self, buf):
        """Read byte by byte: a stream without any() waits for as much as it is asked for."""
        byte = self._byte
        count = 0
        while count < len(buf) and _flags(self._ipoll_readable):
            got = _read_once(self._readinto, byte)
            if not got:
                if got is not None:
                    self.waitable = None
                break
            buf[count] = byte[0]
            count += 1
        return count

    def write(self, buf, start, end):
        """Write buf[start:end] if the stream takes it now; return the count."""
        if not _flags(self._ipoll_writable):
            return 0
        try:
            return self._sink.write(buf, start, end - start) or 0
        except OSError:
            return 0

    def close(self):
        """Leave the streams to their owner."""
        self.waitable = None
        if self._mode is not None:
            from termios import tcsetattr

            try:
                tcsetattr(self._source.fileno(), 0, self._mode)
            except OSError:  # it is not there any more
                pass


def _flags(ipoll):
    """Return what the one stream of a poller is ready for."""
    for entry in ipoll(0):
        return entry[1]
    return 0


def _read_once(readinto, buf):
    """Return how many bytes were read, 0 at the end, None for nothing after all."""
    try:
        return readinto(buf)
    except OSError:
        return 0


def _set_terminal(stream):
    """Have a raw terminal of the unix port give what there is, be it nothing; return how it was.

    None for what is no raw terminal. MicroPython's REPL and input() set the terminal for
    themselves, as long as they read: an agent that runs in another thread meanwhile waits for more
    than has arrived.
    """
    try:
        from termios import tcgetattr, tcsetattr

        fd = stream.fileno()
        was = tcgetattr(fd)
        if was[_LOCAL_FLAGS] & _ICANON:
            return None  # it gives whole lines
        mode = list(was)
        mode[_SPECIAL] = [0 if isinstance(item, int) else item for item in mode[_SPECIAL]]
        tcsetattr(fd, 0, mode)  # VMIN 0
        return was
    except (ImportError, AttributeError, OSError):
        return None
