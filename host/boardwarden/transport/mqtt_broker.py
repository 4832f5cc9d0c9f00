"""One connection to an MQTT broker, shared by all boards of it that an event loop has.

QoS 0 both ways, clean sessions. What comes is passed on at once, so nothing is queued here: where
this process is too slow, the broker drops messages, and hosts subscribe anew as after any loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import select
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from boardwarden.errors import ConnectError, LinkLost, PermissionDenied, PortMissing

from .address import PASSWORD, PASSWORD_FILE, Place, broker_password
from .tcp import not_trusted, trusted

if TYPE_CHECKING:
    from paho.mqtt.client import Client

MAX_PACKET = 65_536  # bytes of a message; a longer one is a stranger's
_CONNECT_S = 5.0
_KEEPALIVE_S = 30  # without an answer for so long again, the connection is dead
_LEAVE_S = 1.0  # for the broker to take what was published last
_NOBODYS = "boardwarden/leave"  # a topic to which nobody subscribes
_MISC_S = 1.0  # between two looks at what is due for that
_MAX_READS = 64  # packets at once; then the event loop has its turn
_log = logging.getLogger(__name__)

Receiver = Callable[[str, bytes, bool], None]  # topic, payload, whether it was retained


def shared(place: Place) -> Broker:
    """Return the running event loop's connection to a broker, not open yet if it is new."""
    brokers = _brokers.setdefault(asyncio.get_running_loop(), {})
    broker = brokers.get(place)
    if broker is None or broker.is_lost:
        broker = brokers[place] = Broker(place)
    return broker


_brokers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Place, Broker]] = (
    weakref.WeakKeyDictionary()
)


class Broker:
    """A connection that opens with its first user, ends with its last, and never comes back.

    Who finds it lost gets another one from shared().
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.is_lost = False
        self._users = 0
        self._client: Client | None = None
        self._opening: asyncio.Task[None] | None = None
        self._misc: asyncio.TimerHandle | None = None
        self._socket: Any = None
        self._ended = asyncio.Event()
        self._accepted: asyncio.Future[Any] | None = None
        self._receivers: dict[str, list[Receiver]] = {}
        self._pending: dict[int, asyncio.Future[bool]] = {}  # what an answer is waited for
        self._has_published = False

    # --- who uses it ----------------------------------------------------------------------------

    async def enter(self) -> None:
        """Use the connection, and open it if nobody has yet; raise a ConnectError."""
        self._users += 1
        try:
            if self._opening is None:
                self._opening = asyncio.create_task(self._open())
            await asyncio.shield(self._opening)
        except BaseException:
            await self.leave()
            raise

    async def leave(self) -> None:
        """Use it no more; the last one closes it."""
        self._users -= 1
        if self._users > 0:
            return
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
            if not self._opening.cancelled():
                self._opening.exception()  # whoever waited for it has had it
        try:
            await self._until_acknowledged()
        finally:
            if self._users <= 0 and not self._pending:  # else somebody came, or leaves, too
                if self._client is not None and not self.is_lost:
                    self._client.disconnect()
                    self._write()
                self._end()

    async def ended(self) -> None:
        """Wait until the connection is lost or closed."""
        await self._ended.wait()

    # --- what is sent ---------------------------------------------------------------------------

    async def subscribe(self, topics: Sequence[str], receiver: Receiver) -> bool:
        """Have what comes under these topics passed to a receiver; False if the broker refuses."""
        if self._client is None or self.is_lost:
            raise LinkLost(f"The connection to {self.place} is lost.")
        for topic in topics:
            self._receivers.setdefault(topic, []).append(receiver)
        _, number = self._client.subscribe([(topic, 0) for topic in topics])
        if number is None:
            raise LinkLost(f"The connection to {self.place} is lost.")
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending[number] = granted
        self._write_soon()
        try:
            done, _ = await asyncio.wait([granted], timeout=_CONNECT_S)
        finally:
            self._pending.pop(number, None)
        if not done:
            raise LinkLost(f"The broker {self.place} does not answer.")
        return granted.result()

    def unsubscribe(self, topics: Sequence[str], receiver: Receiver) -> None:
        """Pass nothing to a receiver any more."""
        unused = []
        for topic in topics:
            receivers = self._receivers.get(topic, [])
            if receiver in receivers:
                receivers.remove(receiver)
            if not receivers and self._receivers.pop(topic, None) is not None:
                unused.append(topic)
        if unused and self._client is not None and not self.is_lost:
            self._client.unsubscribe(unused)
            self._write_soon()

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> bool:
        """Send a message at once; False where the connection takes nothing now: then it is gone.

        Hosts send again what is not answered; a queue would only make it late.
        """
        client = self._client
        if client is None or self.is_lost:
            raise LinkLost(f"The connection to {self.place} is lost.")
        if client.want_write():
            return False
        client.publish(topic, payload, retain=retain)
        self._has_published = True
        self._write_soon()
        return True

    async def _until_acknowledged(self) -> None:
        """Wait, for a while, until the broker has what was published: it answers in order.

        To close a connection drops what this system has not sent yet, or all of it where something
        has come that was not read.
        """
        if self._client is None or self.is_lost or not self._has_published:
            return
        _, number = self._client.unsubscribe(_NOBODYS)
        if number is None:
            return
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending[number] = taken
        self._write_soon()
        try:
            await asyncio.wait([taken], timeout=_LEAVE_S)
        finally:
            self._pending.pop(number, None)
        if taken.done():
            taken.exception()  # it was lost: there is nobody to be told

    # --- opening --------------------------------------------------------------------------------

    async def _open(self) -> None:
        try:
            await self._connect()
        except BaseException:
            self._end()
            raise

    async def _connect(self) -> None:
        client = self._new_client()
        loop = asyncio.get_running_loop()
        try:
            await _in_daemon(
                lambda: client.connect(self.place.host, self.place.port, _KEEPALIVE_S),
                client.disconnect,
            )
        except (OSError, ValueError) as error:
            raise self._explain(error) from error
        self._client = client
        self._socket = client.socket()
        self._accepted = loop.create_future()
        loop.add_reader(self._socket, self._read)
        client.on_socket_close = lambda *_: self._forget_socket()
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self._write_soon()
        self._tick()
        done, _ = await asyncio.wait([self._accepted], timeout=_CONNECT_S)
        if self.is_lost and not self._accepted.result():
            raise ConnectError(
                f"What listens at {self.place} ended the connection before it answered: check "
                "whether the port is one for TLS (mqtts://); a broker may have as many "
                "connections as it takes.",
                str(self.place),
            )
        reason = self._accepted.result() if done else None
        if reason is None:
            raise ConnectError(
                f"What listens at {self.place} does not answer as a broker: check the port, and "
                "whether it is one for TLS (mqtts://).",
                str(self.place),
            )
        if reason.is_failure:
            who = f"user {self.place.user!r}" if self.place.user else "anybody without a name"
            raise PermissionDenied(
                f"The broker {self.place} does not let {who} in ({reason}): check the name in the "
                f"address, and {PASSWORD} or {PASSWORD_FILE}.",
                str(self.place),
            )
        _log.info("%s: connected to the broker", self.place)

    def _new_client(self) -> Client:
        try:
            from paho.mqtt import client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise ConnectError(
                "Boards behind a broker need paho-mqtt: pip install 'boardwarden[mqtt]'.",
                str(self.place),
            ) from None
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"boardwarden-{secrets.token_hex(6)}",
            protocol=paho.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_S
        if self.place.user is not None:
            client.username_pw_set(self.place.user, broker_password())
        if self.place.scheme == "mqtts":
            client.tls_set_context(trusted(str(self.place)))
        client.on_connect = self._on_connect
        client.on_disconnect = lambda *_: self._end()
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_message = self._on_message
        return client

    def _explain(self, error: Exception) -> ConnectError:
        name, host, port = str(self.place), self.place.host, self.place.port
        if isinstance(error, ssl.SSLCertVerificationError):
            return not_trusted(name, error, name)
        if isinstance(error, ConnectionRefusedError):
            return PortMissing(f"No broker listens on port {port} of {host}.", name)
        cut = self.place.scheme == "mqtts" and isinstance(error, ConnectionError)
        if cut or isinstance(error, ssl.SSLError):
            return ConnectError(
                f"What listens at {name} does not speak TLS: check the port, or use mqtt://.", name
            )
        if isinstance(error, socket.gaierror):
            return PortMissing(f"There is no host {host!r}: check the name of the broker.", name)
        if isinstance(error, TimeoutError):
            return ConnectError(
                f"{host} did not answer within {_CONNECT_S:.0f} s: check that the broker runs, and "
                "that this network reaches it.",
                name,
            )
        return ConnectError(f"Cannot connect to the broker {name}: {error}.", name)

    # --- from the client, and from the event loop -----------------------------------------------

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, more: Any) -> None:
        if self._accepted is not None and not self._accepted.done():
            self._accepted.set_result(reason)

    def _on_subscribe(self, client: Any, data: Any, number: int, reasons: Any, more: Any) -> None:
        granted = self._pending.pop(number, None)
        if granted is not None and not granted.done():
            granted.set_result(not any(reason.is_failure for reason in reasons))

    def _on_unsubscribe(self, client: Any, data: Any, number: int, *_: Any) -> None:
        taken = self._pending.pop(number, None)
        if taken is not None and not taken.done():
            taken.set_result(True)

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        try:
            topic, payload = message.topic, message.payload
        except UnicodeDecodeError:  # what sends it is no broker
            return
        if len(payload) > MAX_PACKET:
            return
        first, _, rest = topic.partition("/")
        for name in (topic, f"{first}/+/{rest.partition('/')[2]}"):  # no other patterns are used
            for receiver in tuple(self._receivers.get(name, ())):
                receiver(topic, payload, message.retain)

    def _read(self) -> None:
        """Process the packets that have come, but so many at most."""
        for _ in range(_MAX_READS):
            if self._client is None or self.is_lost:
                return
            self._client.loop_read()
            if not self._has_more():
                break
        else:
            asyncio.get_running_loop().call_soon(self._read)  # nothing tells of what TLS holds
        self._write_soon()  # the answer to a ping, say

    def _has_more(self) -> bool:
        if self._socket is None:
            return False
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(self._readable.poll(0))

    def _write_soon(self) -> None:
        """Write now; where the socket takes no more, when it does again."""
        if self._client is None or self.is_lost:
            return
        if self._client.want_write():
            self._write()

    def _write(self) -> None:
        client = self._client
        if client is None or self.is_lost:
            return
        client.loop_write()
        if self.is_lost:
            return
        loop = asyncio.get_running_loop()
        if client.want_write():
            loop.add_writer(self._socket, self._write)
        else:
            loop.remove_writer(self._socket)

    def _tick(self) -> None:
        if self._client is None or self.is_lost:
            return
        self._client.loop_misc()
        self._write_soon()
        if not self.is_lost:
            self._misc = asyncio.get_running_loop().call_later(_MISC_S, self._tick)

    def _end(self) -> None:
        """The connection is over, however that came about."""
        if self.is_lost:
            return
        self.is_lost = True
        if self._misc is not None:
            self._misc.cancel()
        connection = self._socket
        if connection is not None:  # the client has not closed it
            self._forget_socket()
            connection.close()
        if self._accepted is not None and not self._accepted.done():
            self._accepted.set_result(None)
        for granted in self._pending.values():
            if not granted.done():
                granted.set_exception(LinkLost(f"The connection to {self.place} is lost."))
        self._ended.set()

    def _forget_socket(self) -> None:
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket = None


async def _in_daemon(work: Callable[[], object], undo: Callable[[], object]) -> None:
    """Run work in a thread, and return when it does, or raise what it raises.

    A cancellation does not wait for it, nor does the end of the program; undo() then follows it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Exception | None] = loop.create_future()
    left = threading.Event()

    def finish(error: Exception | None) -> None:
        if not done.done():
            done.set_result(error)

    def run() -> None:
        error = None
        try:
            work()
        except Exception as raised:
            error = raised
        if left.is_set():
            if error is None:
                undo()
            return
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=run, daemon=True).start()
    try:
        error = await done
    except asyncio.CancelledError:
        left.set()
        raise
    if error is not None:
        raise error
