"""One host's session with one board: composes link, framing, subscription and requests.

Nothing that a board sends, however wrong, ends its tasks: what is not understood is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from boardwarden.errors import ConnectError, LinkLost, VersionMismatch
from boardwarden.transport.base import Transport

from . import diagnosis, messages
from .diagnosis import PromptWatch
from .framing import Deframer, frame
from .link import Link
from .messages import Message
from .requests import Requests
from .subscription import StateListener, Subscription
from .waiting import wait_until

_log = logging.getLogger(__name__)
_GOODBYE_S = 0.5
_WHOLE = 3  # times the patience for a first word is that for all of the state
_SUBSCRIBE_HEAD = frame(messages.subscribe(0))[:6]  # what is the same in each host's SUBSCRIBE


class Session:
    """start() once, close() once; `printed` gets what the board's application prints."""

    def __init__(
        self, transport: Transport, keeper: StateListener, printed: Callable[[str], None]
    ) -> None:
        self._keeper = keeper
        self._printed = printed
        self.deframer = Deframer()
        self.link = Link(transport, self)
        self.subscription = Subscription(self)
        self._requests = Requests(self._until_certain, self._send_request)
        self._prompt = PromptWatch(_SUBSCRIBE_HEAD)
        self._refusal: VersionMismatch | None = None
        self._settled: asyncio.Future[None] | None = None  # done when start() may return
        self._certain = asyncio.Event()  # look at subscription.certain again
        self._wake = asyncio.Event()  # something may be due to be sent
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, timeout: float) -> None:
        """Connect, and wait until the keeper knows the board's whole state.

        Raises a ConnectError where nothing was heard `timeout` seconds after the transport opened,
        which has a limit of its own, or where not all was after three times that; then all is
        closed again.
        """
        try:
            self._settled = asyncio.get_running_loop().create_future()
            await self.link.open()
            self._tasks = [asyncio.create_task(self.link.run()), asyncio.create_task(self._tend())]
            await self._until_settled(self._settled, timeout)
        except BaseException:
            await self.close()
            raise

    async def _until_settled(self, settled: asyncio.Future[None], timeout: float) -> None:
        # Not wait_for(): before Python 3.12 that loses a cancellation that comes just then.
        try:
            await asyncio.wait([settled], timeout=timeout)
            if self.subscription.heard:  # and its loop may be slow
                await asyncio.wait([settled], timeout=(_WHOLE - 1) * timeout)
            if not settled.done():
                raise self._why_not(timeout)
            settled.result()
        finally:
            settled.cancel()  # it is too late for an answer

    async def request(self, operation: int, *arguments: Any, timeout: float) -> Any:
        """Have the board do an operation once; return the reply's value.

        Raises a RequestError, LinkLost when the session is closed, VersionMismatch when an agent
        of another version has taken the board's place.
        """
        if self._refusal is not None:
            raise self._refusal
        return await self._requests.call(operation, arguments, timeout)

    async def close(self) -> None:
        """Tell the board goodbye, end all tasks and close the link; twice is fine."""
        try:
            if goodbye := self.subscription.goodbye():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._send(goodbye), _GOODBYE_S)
        finally:
            self._requests.close(diagnosis.closed())
            self._certain.set()  # whoever waits to send finds it over
            try:
                await self._end_tasks()
            finally:
                await self.link.close()
                self.subscription.lost()

    async def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    def _settle(self, error: ConnectError | None = None) -> None:
        if self._settled is None or self._settled.done():
            return
        if error is None:
            self._settled.set_result(None)
        else:
            self._settled.set_exception(error)

    def _why_not(self, timeout: float) -> ConnectError:
        """Return what start() raises when it waited for nothing."""
        if self.subscription.heard:
            lost = self.subscription.gaps + self.subscription.malformed + self.deframer.bad
            return diagnosis.poor_link(self.link.address, _WHOLE * timeout, bool(lost))
        if self._prompt.seen:
            return diagnosis.at_prompt(self.link.address)
        return diagnosis.no_answer(self.link.address, timeout, self._prompt.last_line)

    # --- what the link says ---------------------------------------------------------------------

    def opened(self) -> None:
        """The transport is open: subscribe."""
        self.deframer.reset()
        self.subscription.opened(asyncio.get_running_loop().time())
        self._wake.set()

    def received(self, data: bytes) -> None:
        """Bytes came: take them apart and pass on what they are."""
        now = asyncio.get_running_loop().time()
        for item in self.deframer.feed(data):
            if isinstance(item, bytes):
                self.subscription.receive(item, now)
            else:
                if not self.subscription.heard:
                    self._prompt.text(item)
                self._printed(item)
        if self.subscription.certain:
            self._certain.set()
        if self.subscription.due_at(now) <= now:
            self._wake.set()

    def lost(self) -> None:
        """The transport is gone; the link opens it again, but not before start() returned."""
        self.subscription.lost()
        self._settle(diagnosis.closed_early(self.link.address, self._prompt.last_line))

    # --- what the subscription says -------------------------------------------------------------

    def told(self, message: Message) -> None:
        """State came: it is the keeper's."""
        self._keeper.told(message)

    def happened(self, message: Message, missed: int) -> None:
        """An event is the keeper's, too."""
        self._keeper.happened(message, missed)

    def synced(self) -> None:
        """The keeper knows all."""
        self._refusal = None
        self._settle()
        self._keeper.synced()

    def restarted(self) -> None:
        """What was under way is unknown, and what was known no longer holds."""
        _log.info("%s: the board restarted", self.link.address)
        self._requests.fail(diagnosis.restarted())
        self._keeper.restarted()

    def link_changed(self, connected: bool) -> None:
        """The board was lost, or is there (again)."""
        if connected or self._tasks:  # else it is close() that ends it
            _log.info("%s: %s", self.link.address, "connected" if connected else "link lost")
        if connected:
            self.link.works()
        self._keeper.link_changed(connected)

    def refused(self, major: int, minor: int) -> None:
        """An agent of another version is there: requests say so until another one is."""
        self._refusal = diagnosis.other_version(self.link.address, major, minor)
        _log.warning("%s", self._refusal)
        self._settle(self._refusal)

    def renewed(self) -> None:
        """After a long silence a new session began."""
        self._requests.renew(diagnosis.renewed())
        self._certain.set()  # whoever waits to send finds it over

    def replied(self, request_id: int, code: int, value: object) -> None:
        """A reply came: hand it to who waits."""
        self._requests.reply(request_id, code, value)

    def echoed(self) -> None:
        """Nobody reads there: what is sent comes back."""
        self._prompt.echo()

    # --- what is sent ---------------------------------------------------------------------------

    async def _tend(self) -> None:
        """Send what is due, when it is due."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if not self.link.is_open:
                await self._wake.wait()
                continue
            for payload in self.subscription.due(loop.time()):
                await self._send(payload)
            timer = loop.call_at(self.subscription.due_at(loop.time()), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()

    async def _until_certain(self, over: Callable[[], bool], until: float) -> None:
        """Wait until it is certain that the board is the one that a request is meant for.

        Between a SUBSCRIBE and its HELLO it is not: after a restart the board would do again what
        it may have done before.
        """
        while not (self.subscription.certain or over()):
            self._certain.clear()
            await wait_until(self._certain.wait(), until)

    async def _send_request(
        self, request_id: int, operation: int, arguments: tuple[Any, ...], until: float
    ) -> None:
        host_id = self.subscription.host_id
        data = frame(messages.request(host_id, request_id, operation, arguments))
        if not self.link.offer(data):
            await wait_until(self._write(data), until)

    async def _send(self, payload: bytes) -> None:
        await self._write(frame(payload))

    async def _write(self, data: bytes) -> None:
        """Send a frame; that the link is lost is noticed by who reads."""
        with contextlib.suppress(LinkLost):
            await self.link.write(data)
