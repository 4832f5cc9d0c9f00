"""Pending requests: their ids, retries, deadlines and callers."""

from __future__ import annotations

import asyncio
from typing import Any

from boardwarden._clock import SmallEvent, standstill_s, wait_until
from boardwarden.errors import BoardError, ConnectError
from warden_schema import ids

from . import diagnosis, messages
from .link import Link
from .subscription import Subscription

_RETRY_S = (0.3, 1.0)  # without an answer, a request is sent again: at first, at most
_RETRY_GROWTH = 1.5
_ENDS_WITH_SESSION = (ids.ALLOCATE, ids.BEGIN)  # what of a host ends with its session

# A reply's code and value, why there is none, or None: not yet, send again.
_Answer = tuple[int, Any] | BoardError | None


class Requests:
    """The requests of one session. A board executes each id once, however often it is sent.

    `send_due` is set when the subscription may have something to send. `retry_s`: the pauses before
    a request is sent again, at first and at most.
    """

    def __init__(
        self,
        subscription: Subscription,
        link: Link,
        send_due: SmallEvent,
        retry_s: tuple[float, float] = _RETRY_S,
    ) -> None:
        self.confirmed = SmallEvent()  # look at subscription.confirmed again
        self._subscription = subscription
        self._link = link
        self._send_due = send_due
        self._retry_s = retry_s
        self._next_id = 0  # goes on in a new session; on the wire an id counts from its first
        self._first_id = 0
        self._pending: dict[int, asyncio.Future[_Answer]] = {}
        self._id_freed = SmallEvent()
        self._closed: BoardError | None = None
        self._refusal: ConnectError | None = None

    async def call(self, operation: int, arguments: tuple[Any, ...], timeout: float) -> Any:
        """Send a request until it is answered; return the reply's value.

        Raises RequestTimeout after `timeout` seconds, RequestRefused if the board refuses, what
        fail() was given, and what refuse() was while it waits to be sent.
        """
        self._check_refusal()
        if operation in _ENDS_WITH_SESSION:
            self._subscription.holds = True
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            request_id = await self._new_id(deadline)
            self._pending[request_id] = asyncio.get_running_loop().create_future()
            try:
                result = await self._send_until_answered(request_id, operation, arguments, deadline)
            finally:
                del self._pending[request_id]
                self._id_freed.set()
        except asyncio.TimeoutError:
            raise diagnosis.no_reply(timeout) from None
        if isinstance(result, BoardError):
            raise result.with_traceback(None)
        code, value = result
        if code != ids.OK:
            raise diagnosis.refusal(code, value)
        return value

    def on_reply(self, wire_id: int, code: int, value: Any) -> None:
        """Give a REPLY to its caller; ignore one that nobody waits for, which is a repeat."""
        for request_id, answer in self._pending.items():
            if self._wire_id(request_id) == wire_id and not answer.done():
                answer.set_result((code, value))

    def fail(self, error: BoardError) -> None:
        """Make all requests raise an error, sent or not."""
        for answer in self._pending.values():
            if not answer.done():
                answer.set_result(error)
        self.confirmed.set()  # one that waits to be sent sees that it is over

    def refuse(self, error: ConnectError | None) -> None:
        """Make what waits to be sent for the first time raise an error, later requests too.

        None: no more. One that was sent goes on until its deadline: it may have been done.
        """
        self._refusal = error
        self.confirmed.set()  # one that waits to be sent sees it

    def start_session(self, error: BoardError) -> None:
        """Begin a new session: make all requests of the last one raise an error."""
        self._first_id = self._next_id
        self.fail(error)

    def close(self, error: BoardError) -> None:
        """Make all requests raise an error, later ones too."""
        self._closed = error
        self.fail(error)

    def _check_refusal(self) -> None:
        """Raise what refuse() was given."""
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)  # without those who had it before

    async def _new_id(self, deadline: float) -> int:
        """Return a new id; wait while it would be too far ahead of the oldest pending one."""
        while self._pending and self._next_id - min(self._pending) >= ids.MAX_PENDING:
            self._id_freed.clear()
            await wait_until(self._id_freed.wait(), deadline)
        self._next_id += 1
        return self._next_id - 1

    def _wire_id(self, request_id: int) -> int:
        return (request_id - self._first_id) & 0xFFFF

    async def _send_until_answered(
        self, request_id: int, operation: int, arguments: tuple[Any, ...], deadline: float
    ) -> tuple[int, Any] | BoardError:
        """Send, and send again, until there is an answer."""
        loop = asyncio.get_running_loop()
        pause, longest = self._retry_s
        was_sent = False
        while True:
            answer = self._pending[request_id]
            if not answer.done():
                if self._closed is not None:
                    raise self._closed.with_traceback(None)
                await self._until_confirmed(answer, deadline, was_sent)
            if not answer.done():  # else it failed while it waited, and must not be sent any more
                host_id, wire_id = self._subscription.host_id, self._wire_id(request_id)
                payload = messages.request(host_id, wire_id, operation, arguments)
                was_sent = True
                await self._link.send(payload, deadline)
            again = min(loop.time() + pause, deadline)
            timer = loop.call_at(again, self._end_try, request_id, answer)
            try:
                result = await answer
            finally:
                timer.cancel()
            if result is not None:
                return result
            deadline += standstill_s(again)
            if again >= deadline:
                raise asyncio.TimeoutError
            pause = min(pause * _RETRY_GROWTH, longest)

    async def _until_confirmed(
        self, answer: asyncio.Future[_Answer], deadline: float, was_sent: bool
    ) -> None:
        """Wait until it is certain that the board is the one that a request is meant for.

        Between a SUBSCRIBE and its HELLO it is not: after a restart the board would do again what
        it may have done before.
        """
        while not (self._subscription.confirmed or answer.done()):
            if not was_sent:
                self._check_refusal()
            self.confirmed.clear()
            self._subscription.needs_answer = True
            self._send_due.set()
            await wait_until(self.confirmed.wait(), deadline)

    def _end_try(self, request_id: int, answer: asyncio.Future[_Answer]) -> None:
        """Send again: a reply may come before the caller that waited for this try goes on."""
        if not answer.done():
            self._pending[request_id] = answer.get_loop().create_future()
            answer.set_result(None)
