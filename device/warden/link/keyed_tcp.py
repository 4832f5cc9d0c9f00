"""A TCP port whose hosts prove a key, or see figures only; loaded where one is asked for."""

import select

from micropython import const

from warden.link.brakes import Brakes
from warden.link.keys import Keys
from warden.link.tcp import ServerLink

_SILENCE_MS = const(3000)
_UNPROVED_MS = const(3000)  # a connection has so long to prove a key,
_YIELD_MS = const(300)  # or so long while somebody waits at another address,
_LAST_WORD_MS = const(300)  # or, once it has failed, so long to read why
_MAX_ACCEPTED = const(8)  # connections in a poll

_NOBODY = const(-1)
_NO_KEY = const(0)


def address_text(address):
    """Return the address that accept() gave as a text; the unix port gives a sockaddr in bytes."""
    if isinstance(address, tuple):
        return str(address[0])
    return ".".join([str(byte) for byte in address[4:8]])


class KeyedServer(ServerLink):
    """Listens for one host at a time that proves one of the link's keys, see `Keys`.

    Who has not proved one has three seconds, and gives way to another address after 0.3 s. An
    address from which a connection failed waits, see `Brakes`. A host without a key, where
    open_hosts allows it, gives way to anybody, who then has to prove a key.
    """

    def __init__(self, port, host, key, control_key, open_hosts):
        super().__init__(port, host)
        self.brakes = Brakes(self._ticks_ms, self._ticks_diff)
        self.keys = Keys(key, control_key, open_hosts, self._on_proved, self._on_wrong)
        self._peer_address = None

    @property
    def right(self):
        """The right that was proved over the connection."""
        return self.keys.peer.right

    def join(self, session):
        """Have the keys take their place between this link and its session."""
        self.keys.join(session)

    def readable(self):
        """Tell whether there is something to read, or a connection whose time is over."""
        return super().readable() or self._is_late()

    def read(self, buf):
        """Read what has arrived into buf, or let a host in; return the count."""
        if self._is_late():
            self.drop()
        return super().read(buf)

    def _is_late(self):
        """Tell whether the connection has not proved a key in time."""
        peer = self.keys.peer
        if self._connection is None or peer.right != _NOBODY:
            return False
        return not self._is_within(
            self._seen_ms, _LAST_WORD_MS if peer.has_failed else _UNPROVED_MS
        )

    def _on_proved(self):
        self._seen_ms = self._ticks_ms()
        self.brakes.clear(self._peer_address)

    def _on_wrong(self):
        self._seen_ms = self._ticks_ms()
        self.keys.tell_wrong(self._peer_address)

    def drop(self):
        """Close the connection; a peer that has not proved a key failed."""
        if self._connection is not None and self.keys.peer.right == _NOBODY:
            self.brakes.fail(self._peer_address)
        super().drop()

    def _let_in(self):
        for _ in range(_MAX_ACCEPTED):
            try:
                connection, address = self._listener.accept()
            except OSError:  # there is none any more
                return
            address = address_text(address)
            if self.brakes.is_paused(address) or not self._has_place(address):
                connection.close()
                continue
            is_open_taken = self._connection is not None and self.keys.peer.right == _NO_KEY
            self.drop()
            if self.brakes.is_paused(address):  # it was its own that failed
                connection.close()
                continue
            self._peer_address = address
            self.keys.begin(is_open_taken)
            self._adopt(connection, select.POLLIN)

    def _has_place(self, address):
        """Tell whether a connection from that address may take the place."""
        if self._connection is None or self.keys.peer.right == _NO_KEY:
            return True
        if self.keys.peer.right != _NOBODY:
            return not self._is_within(self._seen_ms, _SILENCE_MS)
        limit_ms = _UNPROVED_MS if address == self._peer_address else _YIELD_MS
        return not self._is_within(self._seen_ms, limit_ms)
