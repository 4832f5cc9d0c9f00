"""`tcp://host:port`, and `tls://host:port` inside TLS: a board that listens on the network.

Whom TLS trusts is here, too, for brokers and webhooks as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from typing import Any
from urllib.parse import urlsplit

from boardwarden._paths import reason
from boardwarden.errors import ConnectError, LinkLost, PortMissing

from .address import wrong_address

CA_FILE = "BOARDWARDEN_CA"  # PEM, of who signed the other end's certificate, or that one itself
_CONNECT_S = 5.0
_AGAIN_S = 0.25
_CHUNK_BYTES = 4096
# Half a minute without an answer of the other end's system; its own limits are hours.
_DEAD_AFTER = {
    "TCP_KEEPIDLE": 15,  # seconds
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 30_000,  # milliseconds, of what was sent
}

# As socket.getaddrinfo() returns it: family, kind, protocol, name, place.
_Address = tuple[int, int, int, str, Any]

_RENEW = "it has to be renewed there, unless this computer's clock is wrong."
_RENAME = "the address has to have a name that the certificate is for."
_ADVICE = {9: _RENEW, 10: _RENEW, 62: _RENAME, 64: _RENAME}  # by X509_V_ERR_… of OpenSSL


def trusted(address: str) -> ssl.SSLContext:
    """Return what believes the system's authorities, or else the file that CA_FILE names.

    address: for the ConnectError of a file that is none.
    """
    place = os.environ.get(CA_FILE) or None
    try:
        context = ssl.create_default_context(cafile=place)
        if place is not None:
            # Python 3.13 begins to refuse an authority without keyUsage, as `openssl req -x509`
            # makes them and mosquitto's manual tells to.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context
    except ssl.SSLError:
        why = "it has none in PEM"
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        why = reason(error) if isinstance(error, OSError) else "no such name"
    raise ConnectError(f"{CA_FILE} names no file with certificates: {place}: {why}.", address)


def not_trusted(who: str, error: ssl.SSLCertVerificationError, address: str) -> ConnectError:
    """Return the error of a certificate that is not believed, and what to do about it."""
    advice = _ADVICE.get(
        error.verify_code,
        f"{CA_FILE} has to name the file with the certificate of who signed it.",
    )
    why = error.verify_message.rstrip(".")
    return ConnectError(f"The certificate of {who} is not trusted ({why}): {advice}", address)


async def _addresses(host: str, port: int) -> list[_Address]:
    """Return what socket.getaddrinfo() does, or raise what it does.

    A resolver whose servers are away takes half a minute. asyncio looks up in threads that it waits
    for when a program ends, and of which there are few, also for what has nothing to do with names.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[_Address]] = loop.create_future()

    def deliver(found: list[_Address] | OSError | UnicodeError) -> None:
        if answer.done():  # nobody waits any more
            return
        if isinstance(found, list):
            answer.set_result(found)
        else:
            answer.set_exception(found)

    def look_up() -> None:
        found: list[_Address] | OSError | UnicodeError
        try:
            found = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(deliver, found)

    threading.Thread(target=look_up, name="boardwarden-resolver", daemon=True).start()
    return await answer


class Tcp:
    """A TCP connection without Nagle's delay: requests are small and awaited.

    Where packets vanish, nothing says so: after ten seconds of silence the session opens it anew,
    and where no agent has answered yet, the system ends it after half a minute.
    """

    silence_is_death = True

    def __init__(self, address: str) -> None:
        self.address = address
        self._is_tls, self._host, self._port = _parse(address)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect within 5 s; raise PortMissing (no such host, nobody listens) or ConnectError."""
        context = trusted(self.address) if self._is_tls else None
        give_up_at = asyncio.get_running_loop().time() + _CONNECT_S
        while True:
            try:
                self._reader, writer = await asyncio.wait_for(self._connect(context), _CONNECT_S)
                break
            except (OSError, asyncio.TimeoutError) as error:
                # A board closes it while somebody else has the place of who is not known yet.
                is_closed = context is not None and isinstance(error, ConnectionResetError)
                if not is_closed or asyncio.get_running_loop().time() >= give_up_at:
                    raise self._explain(error) from error
            await asyncio.sleep(_AGAIN_S)
        link: socket.socket = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it is closed already, which read() notices
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _DEAD_AFTER.items():
                if hasattr(socket, name):  # not all systems have all
                    link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._writer = writer

    async def _connect(
        self, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first of the host's addresses that can be; raise the last one's error.

        asyncio by itself makes one error of no kind of those of several addresses.
        """
        loop = asyncio.get_running_loop()
        found = await _addresses(self._host, self._port)
        for left, (family, kind, protocol, _, place) in zip(
            range(len(found) - 1, -1, -1), found, strict=True
        ):
            link = socket.socket(family, kind, protocol)
            try:
                link.setblocking(False)
                await loop.sock_connect(link, place)
            except BaseException as error:
                link.close()
                if not left or not isinstance(error, OSError):
                    raise
                continue
            name = self._host if context is not None else None
            return await asyncio.open_connection(sock=link, ssl=context, server_hostname=name)
        raise socket.gaierror(socket.EAI_NONAME, "no address")

    def _explain(self, error: Exception) -> ConnectError:
        if isinstance(error, socket.gaierror):
            return PortMissing(f"There is no host {self._host!r}: check the name.", self.address)
        if isinstance(error, ConnectionRefusedError):
            return PortMissing(
                f"Nothing listens on port {self._port} of {self._host}: "
                "check the port, and that the board's agent serves it.",
                self.address,
            )
        if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
            return ConnectError(
                f"{self._host} did not answer within {_CONNECT_S:.0f} s: "
                "check that the board is on and on this network.",
                self.address,
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            return not_trusted(self._host, error, self.address)
        if isinstance(error, ssl.SSLError) or (self._is_tls and isinstance(error, ConnectionError)):
            return ConnectError(
                f"Port {self._port} of {self._host} does not speak TLS as it should: "
                "check that the board's TcpServer has an ssl_context.",
                self.address,
            )
        if isinstance(error, ConnectionError):
            return ConnectError(
                f"Port {self._port} of {self._host} closes the connection at once: is that the "
                "port of the board's agent?",
                self.address,
            )
        # asyncio's text has the address in Python's words; the system's is for people.
        number = error.errno if isinstance(error, OSError) else None
        why = os.strerror(number).lower() if number else str(error)
        return ConnectError(f"Cannot connect to {self.address}: {why}.", self.address)

    async def read(self) -> bytes:
        """Wait for bytes; b"" when the connection has ended, however that came about."""
        if self._reader is None:
            return b""
        try:
            return await self._reader.read(_CHUNK_BYTES)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        if self._writer is None or self._writer.is_closing():
            raise LinkLost(f"The link to {self.address} is closed.")
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise LinkLost(f"The link to {self.address} broke.") from error

    async def close(self) -> None:
        """Close the connection; drop what is not sent yet."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is None:
            return
        writer.transport.abort()
        try:
            await writer.wait_closed()
        except OSError:  # the connection was already broken: closed all the same
            return


def _parse(address: str) -> tuple[bool, str, int]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:  # a bad port number or bracket
        host = port = None
    if not host or not port or parts.path or parts.query:
        raise wrong_address(address, f"{address!r} does not name a host and a port")
    return parts.scheme == "tls", host, port
