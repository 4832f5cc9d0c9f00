"""One host's session with one board: composes link, keys, subscription and requests.

Nothing that a board sends, however wrong, ends its tasks: what is not understood is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from boardwarden._clock import Attention, SmallEvent, attention, wait_done
from boardwarden.errors import (
    ConnectError,
    KeyRefused,
    NoPlace,
    RequestTimeout,
    VersionMismatch,
)
from boardwarden.transport.base import Shared, Transport
from warden_schema import ids

from . import diagnosis, messages
from .diagnosis import PromptWatch
from .keys import Keys, Secret
from .link import Link, frame
from .requests import Requests
from .shared_stream import FULL_STATE_S, LIVE_S, RETRY_S, SharedKeys, SharedSubscription
from .subscription import RENEW_S, StateListener, Subscription

_log = logging.getLogger(__name__)
_GOODBYE_S = 0.5
_CANCEL_S = 0.1  # until a task that goes on is cancelled again
_QUIET_S = LIVE_S + 2.0  # a board that is there has sent a frame then
_READING_TURNS = 5  # of the loop, in which what lies in a socket is read
_FULL_STATE = 3  # times the timeout of the first answer is that of the full state
_SUBSCRIBE_HEAD = frame(messages.subscribe(0))[:6]  # what is the same in each host's SUBSCRIBE


class Session:
    """A session from start() to close(); `on_text` gets what the board's application prints.

    secret: what the board has to prove that it has of it, before anything else is sent.
    """

    def __init__(
        self,
        transport: Transport,
        state: StateListener,
        on_text: Callable[[str], None],
        secret: Secret | None = None,
    ) -> None:
        self._state = state
        self._on_text = on_text
        self._shared = transport if isinstance(transport, Shared) else None
        self._heard = False  # a frame came, whoever sent it
        self._oversize = 0  # frames that were too long
        self.subscription: Subscription
        if self._shared is None:
            self.subscription = Subscription(state, self)
            self.keys = Keys(secret, self)
        else:
            self.subscription = shared = SharedSubscription(state, self)
            self.keys = SharedKeys(secret, self, shared)
            self._shared.watch(self._on_presence)
        self.link = Link(transport, self, self.keys.sign)
        self._send_due = SmallEvent()  # something may be due to be sent
        pauses = {} if self._shared is None else {"retry_s": RETRY_S}
        self._requests = Requests(self.subscription, self.link, self._send_due, **pauses)
        self.on_reply = self._requests.on_reply  # what the subscription says to the requests
        self.on_confirmed = self._requests.confirmed.set
        self._prompt = PromptWatch(_SUBSCRIBE_HEAD)
        self._started: asyncio.Future[None] | None = None  # done when start() may return
        self._tasks: list[asyncio.Task[None]] = []
        self._attention: Attention | None = None
        self._opened_at = 0.0  # the transport, by the event loop's clock
        self._stood_s = 0.0  # how long this host stood still, and what follows is still to come

    async def start(self, timeout: float) -> None:
        """Connect, and wait until the board has sent its full state.

        Raises a ConnectError if no agent answered within `timeout` seconds after the transport
        opened, which has a limit of its own, or if the state was not complete after three times
        that; then everything is closed again. For a board at a broker see boardwarden.connect().
        """
        try:
            self._started = asyncio.get_running_loop().create_future()
            self._attention = attention()
            self._attention.enter(self._on_standstill)
            await self.link.open()
            self._tasks = [
                asyncio.create_task(self.link.run()),
                asyncio.create_task(self._send_when_due()),
            ]
            await self._until_started(self._started, timeout)
        except BaseException:
            await self.close()
            raise

    async def _until_started(self, started: asyncio.Future[None], timeout: float) -> None:
        # Not wait_for(): before Python 3.12 that loses a cancellation that comes just then.
        try:
            await wait_done(started, timeout)
            if self._may_be_quiet and timeout < _QUIET_S:
                await wait_done(started, _QUIET_S - timeout)
            if rest := self._rest_s(timeout):
                await wait_done(started, rest)
            if not started.done():
                raise self._start_error(timeout)
            started.result()
        finally:
            started.cancel()  # it is too late for an answer

    @property
    def _may_be_quiet(self) -> bool:
        """Whether nothing came from a board that said, perhaps long ago, that it is online."""
        return self._shared is not None and bool(self._shared.online) and not self._heard

    def _rest_s(self, timeout: float) -> float:
        """Return how much longer to wait for the full state of a board that is there."""
        if not self.keys.proved:
            return 0
        if self._shared is not None and self._heard:
            # It may not hear us, and then sends its state by itself.
            return (_FULL_STATE - 1) * timeout + FULL_STATE_S
        return (_FULL_STATE - 1) * timeout if self.subscription.answered else 0  # its loop is slow

    async def request(self, operation: int, *arguments: Any, timeout: float) -> Any:
        """Have the board do an operation once; return the reply's value.

        Raises a RequestError, LinkLost when the session is closed, VersionMismatch when an agent
        of another version has taken the board's place, NoPlace when other hosts have taken ours,
        KeyRefused when the board refuses the key.
        """
        try:
            return await self._requests.call(operation, arguments, timeout)
        except RequestTimeout:
            if self._shared is None or self.subscription.confirmed:
                raise
            explain = diagnosis.not_received if self.keys.proved else diagnosis.no_proof
            raise explain(self.link.address, timeout) from None

    async def close(self) -> None:
        """End the session on the board, all tasks and the link; twice is fine."""
        try:
            goodbye = self.subscription.goodbye()
            if goodbye:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.link.send(goodbye), _GOODBYE_S)
        finally:
            self._requests.close(diagnosis.closed())
            if self._attention is not None:
                self._attention.leave(self._on_standstill)
            try:
                await self._end_tasks()
            finally:
                await self.link.close()
                self.subscription.on_lost()

    async def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, []
        pending = set(tasks)
        while pending:  # before Python 3.12 wait_for() may swallow a cancellation
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_S)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    def _end_start(self, error: ConnectError | None = None) -> None:
        if self._started is None or self._started.done():
            return
        if error is None:
            self._started.set_result(None)
        else:
            self._started.set_exception(error)

    def _start_error(self, timeout: float) -> ConnectError:
        """Return the error for a start() that timed out."""
        waited = timeout + self._rest_s(timeout)
        if self._shared is not None and not self.subscription.answered:
            if absence := self._shared.absence():
                return absence
            if not self._heard:
                return diagnosis.silent(self.link.address, max(timeout, _QUIET_S))
            if self.keys.proved:
                return diagnosis.no_full_state(self.link.address, waited)
        is_echo = self._prompt.seen or self.subscription.echoed
        sends_frames = self.subscription.frames > 0 and not (is_echo or self.malformed_frames)
        if self.subscription.answered or sends_frames:  # without a HELLO: it was lost, say
            is_lossy = bool(self.subscription.gaps or self.damaged_frames)
            return diagnosis.poor_link(self.link.address, waited, is_lossy, self.malformed_frames)
        if self.keys.secret is not None and not self.keys.proved:
            return diagnosis.no_proof(self.link.address, timeout)
        if is_echo:
            return diagnosis.at_prompt(self.link.address, self._prompt.shown)
        frames = self.damaged_frames, self.malformed_frames
        return diagnosis.no_answer(self.link.address, timeout, self._prompt.last_line, *frames)

    # --- what came --------------------------------------------------------------------------------

    @property
    def damaged_frames(self) -> int:
        """How many frames the line damaged."""
        return self.link.deframer.bad - self.link.deframer.oversize

    @property
    def malformed_frames(self) -> int:
        """How many undamaged frames were too long or made no sense."""
        return self.link.deframer.oversize + self.subscription.malformed

    # --- from the link --------------------------------------------------------------------------

    def on_open(self) -> None:
        """The transport is open: prove the key, if there is one, and subscribe."""
        self._opened_at = now = asyncio.get_running_loop().time()
        self.keys.on_open(now)
        if self.keys.proved:
            self.subscription.on_open(now)
        self._send_due.set()

    def on_received(self, items: list[bytes | str]) -> None:
        """Something came: process the payloads, and the text between them."""
        now = asyncio.get_running_loop().time()
        if self._oversize != self.link.deframer.oversize:
            self._oversize = self.link.deframer.oversize
            self.subscription.on_oversize()
        for item in items:
            if isinstance(item, bytes):
                self._heard = True
                payload = self.keys.receive(item, now)
                if payload is not None:
                    self.subscription.receive(payload, now)
            elif self.keys.proved:  # else it is a stranger's
                if not self.subscription.answered:
                    self._prompt.on_text(item)
                self._on_text(item)
        if self._due_at(now) <= now:
            self._send_due.set()

    def on_lost(self) -> None:
        """The transport is gone; the link opens it again, but not before start() returned."""
        self.subscription.on_lost()
        if self.keys.secret is None:
            self._end_start(diagnosis.closed_early(self.link.address, self._prompt.last_line))
        elif self._started is not None and not self._started.done():
            self.link.reset_backoff()  # a stranger was in the way: for a moment only

    def _on_presence(self) -> None:
        """The board's state outside its stream came."""
        if self._shared is None or self._shared.online is None:
            return
        online = self._shared.online
        if not online:
            self._end_start(self._shared.absence())
        now = asyncio.get_running_loop().time()
        self.subscription.on_presence(online, now)
        if online and not self.keys.proved:
            self.keys.on_open(now)
        self._send_due.set()

    # --- from the keys --------------------------------------------------------------------------

    def on_proved(self) -> None:
        """The board has proved the key: subscribe."""
        self.subscription.on_open(asyncio.get_running_loop().time())

    def on_key_refused(self, reason: int) -> None:
        """The board refuses the key: requests raise that until it accepts one.

        On a stream, where it is demanded: who has none goes on to read, who has one proves it anew.
        """
        if self._shared is not None and reason == ids.NEEDED:
            if self.keys.secret is None:
                self._requests.fail(diagnosis.key_refused(self.link.address, reason))
            else:
                self._prove_again()
            return
        self._refuse(diagnosis.key_refused(self.link.address, reason))

    def _prove_again(self) -> None:
        """Prove the key anew on a stream: the board does not know this host, or not any more."""
        if self._shared is None or self.keys.secret is None:
            return
        self.keys.on_open(asyncio.get_running_loop().time())
        self.subscription.leave()  # nothing is shown before the proof
        self.subscription.confirmed = False  # requests wait
        self._send_due.set()

    # --- from the subscription ------------------------------------------------------------------

    def on_synced(self) -> None:
        self._requests.refuse(None)
        self._end_start()
        self._state.on_synced()

    def on_restart(self) -> None:
        """The board restarted: fail the pending requests, and clear the state."""
        self._requests.fail(diagnosis.restarted())
        self._state.on_restart()
        self._prove_again()

    def on_link_change(self, connected: bool) -> None:
        if connected or self._tasks:  # else it is close() that ends it
            _log.info("%s: %s", self.link.address, "connected" if connected else "link lost")
        if connected:
            self.link.reset_backoff()
        self._state.on_link_change(connected)

    def on_refused(self, major: int, minor: int, places: list[object] | None) -> None:
        """An agent of another version answered, or one without a place for this host.

        Requests raise that until a board answers that has one.
        """
        if major == ids.PROTOCOL_MAJOR and places is not None:
            self._refuse(diagnosis.no_place(self.link.address, places))
        else:
            self._refuse(diagnosis.other_version(self.link.address, major, minor))

    def _refuse(self, error: VersionMismatch | NoPlace | KeyRefused) -> None:
        _log.warning("%s", error)
        self._requests.refuse(error)
        self._end_start(error)

    def on_new_session(self) -> None:
        """After a long silence a new session began."""
        now = asyncio.get_running_loop().time()
        if self.subscription.answered and now >= self._opened_at + RENEW_S:  # else it is not dead
            self.link.on_silence()
        self._requests.start_session(diagnosis.renewed())
        self._prove_again()

    # --- what is sent ---------------------------------------------------------------------------

    async def _send_when_due(self) -> None:
        """Send SUBSCRIBEs and keepalives at their times."""
        loop = asyncio.get_running_loop()
        while True:
            self._send_due.clear()
            if not self.link.is_open:
                await self._send_due.wait()
                continue
            if self._stood_s:
                await self._after_standstill()
            now = loop.time()
            if not self.keys.proved and now >= self.keys.give_up_at:
                self.keys.on_open(now)
                self.subscription.on_lost()
                self.link.on_silence()
            if self.keys.proved or not self._is_offline:
                for payload in (self.subscription if self.keys.proved else self.keys).due(now):
                    await self.link.send(payload)
            timer = loop.call_at(self._due_at(loop.time()), self._send_due.set)
            try:
                await self._send_due.wait()
            finally:
                timer.cancel()

    def _on_standstill(self, stood_s: float) -> None:
        self._stood_s += stood_s
        self._send_due.set()

    async def _after_standstill(self) -> None:
        """Have what the board sent meanwhile read before anything follows from its silence."""
        for _ in range(_READING_TURNS):
            await asyncio.sleep(0)
        stood_s, self._stood_s = self._stood_s, 0.0
        self.subscription.on_standstill(stood_s, asyncio.get_running_loop().time())

    def _due_at(self, now: float) -> float:
        """Return when something is next to be sent, if nothing is received before."""
        if self.keys.proved:
            return self.subscription.due_at(now)
        return self.keys.give_up_at if self._is_offline else self.keys.due_at()

    @property
    def _is_offline(self) -> bool:
        """Whether the board is known to be gone, apart from its stream."""
        return self._shared is not None and self._shared.online is False
