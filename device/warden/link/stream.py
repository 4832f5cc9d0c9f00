"""A link over streams that `select.poll` knows: stdin and stdout, a UART, a USB serial port.

`poll` says that a stream takes something, not how much; a longer write may wait where nobody reads:
for half a second with each 64 bytes, on ports with TinyUSB (shared/tinyusb/mp_usbd_cdc.c: rp2,
samd, mimxrt, …). `window` therefore bounds what may be under way unacknowledged: as much as the
smallest buffer of these ports holds. What the application prints goes into that buffer, too.
"""

from micropython import const

_WINDOW_BYTES = const(256)
_POLLIN = const(1)  # as `select` has them
_POLLOUT = const(4)


class StreamLink:
    """Reads from `source`, writes to `sink`, both without waiting; they may be the same."""

    window = _WINDOW_BYTES

    def __init__(self, source, sink=None):
        import select  # not every port has it

        self.source = source
        self.sink = sink or source
        self.poller = select.poll()
        self.poller.register(self.sink, _POLLOUT)
        self.poller.register(source, _POLLIN | _POLLOUT if self.sink is source else _POLLIN)
        self.waitable = source  # what an event loop may wait on; None once it has ended
        self.byte = bytearray(1)

    def readable(self):
        """Tell whether something has arrived, or the stream has ended."""
        return self.waitable is not None and self.flags(self.source) & ~_POLLOUT != 0

    def flags(self, stream):
        """Return what one of the streams is ready for, an error of it included."""
        for entry in self.poller.ipoll(0):
            if entry[0] is stream:
                return entry[1]
        return 0

    def read(self, buf):
        """Read what has arrived into buf; return the count."""
        source = self.source
        count = 0
        if self.waitable is None:
            pass
        elif hasattr(source, "any"):  # a UART tells how much has arrived
            count = min(source.any(), len(buf))
            if count:
                count = source.readinto(buf, count) or 0
        else:  # readinto() would wait until the buffer is full
            while count < len(buf) and self.flags(source) & ~_POLLOUT:
                got = read_once(source, self.byte)
                if not got:
                    if got is not None:
                        self.waitable = None
                    break
                buf[count] = self.byte[0]
                count += 1
        return count

    def write(self, buf, start, end):
        """Write buf[start:end], as far as the stream takes it now; return the count."""
        if self.flags(self.sink) & ~_POLLIN:
            return self.sink.write(buf, start, end - start) or 0
        return 0

    def close(self):
        """Leave the streams to their owner."""
        self.waitable = None


def read_once(source, buf):
    """Return how many bytes were read, 0 at the end, None for nothing after all."""
    try:
        return source.readinto(buf)
    except OSError:
        return 0
