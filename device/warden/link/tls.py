"""Connections inside TLS; loaded for a `TcpServer` with an `ssl_context`."""

from micropython import const

from warden.link.tcp import Line

_DELIMITERS = const(b"\xc0")  # a delimiter: two in a row count as one


class TlsLine(Line):
    """A connection that is encrypted. What the handshake computes, it computes in `read()`."""

    silent_ms = 1000  # the handshake says nothing that read() returns

    def __init__(self, server, connection, address):
        connection.setblocking(False)
        wrap = server.ssl_context.wrap_socket
        connection = wrap(connection, server_side=True, do_handshake_on_connect=False)
        self.is_behind = False  # TLS has not passed on all that was written
        super().__init__(server, connection, address)

    def write(self, buf, start, end):
        """Write buf[start:end], all of it or nothing; return the count.

        What does not fit the connection TLS keeps, and passes on at the next write: it has taken it
        (`mbedtls_ssl_write`), though MicroPython says that nothing was.
        """
        if self.is_behind and not super().write(_DELIMITERS, 0, 1):
            return 0
        count = super().write(buf, start, end)
        self.is_behind = not count and self.connection is not None and not self.broken
        return end - start if self.is_behind else count
