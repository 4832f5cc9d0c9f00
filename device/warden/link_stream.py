"""A link over streams that `select.poll` knows: stdin and stdout, a UART, a USB serial port.

`poll` says that a stream takes something, not how much; a longer write may wait for up to half a
second where nobody reads (USB CDC on rp2, stm32, samd). `window` therefore bounds what may be
under way unacknowledged: as much as the smallest buffer of these ports holds.
"""

import select

from micropython import const

_WINDOW_BYTES = const(256)


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
        self._writable = select.poll()
        self._writable.register(self._sink, select.POLLOUT)
        self.waitable = source  # what an event loop may wait on; None once it has ended
        self._byte = bytearray(1)

    def read(self, buf):
        """Read what has arrived into buf; return the count."""
        if self.waitable is None:
            return 0
        if self._any is not None:
            count = min(self._any(), len(buf))
            return self._readinto(buf, count) or 0 if count else 0
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
        for _ in self._writable.ipoll(0):
            break
        else:
            return 0
        try:
            return self._sink.write(buf, start, end - start) or 0
        except OSError:
            return 0

    def close(self):
        """Leave the streams to their owner."""
        self._end()

    def _end(self):
        self.waitable = None
