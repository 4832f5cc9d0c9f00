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
        self._readable = select.poll()
        self._readable.register(self._source, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(self._sink, select.POLLOUT)
        self.waitable = source  # what an event loop may wait on; None once it has ended
        self._byte = bytearray(1)

    def read(self, buf):
        """Read what has arrived into buf; return the count."""
        count = 0
        byte = self._byte
        while count < len(buf) and self.waitable is not None and self._ready(self._readable):
            try:
                got = self._source.readinto(byte)  # more would wait for more
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
        if not self._ready(self._writable):
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

    @staticmethod
    def _ready(poller):
        for _ in poller.ipoll(0):
            return True
        return False
