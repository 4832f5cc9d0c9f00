"""A board, mirrored: `async with connect("/dev/ttyACM0") as board`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Mapping,
    Sequence,
)
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from warden_schema import ids

from . import _conversion, keys
from ._clock import SmallEvent, attended_s, passed_s, wait_until
from ._conversion import enum_or_int, from_thousandths
from ._mirror import Console, Mirror
from ._protocol import diagnosis
from ._protocol.keys import Secret
from ._protocol.session import Session
from .crashes import CaughtException, Reset, Restart
from .errors import (
    BoardError,
    BoardRestarted,
    ConnectError,
    LinkLost,
    NotFound,
    RequestError,
    RequestRefused,
)
from .grants import BoardSession, Event, Lease, Limits, MemoryProfile, Meter, Operation, Threshold
from .history import BOARD_METRICS, Column, Gap, History, HistorySlot, column, oldest_s, slots
from .models import (
    Action,
    Capability,
    LinkStatus,
    OperationState,
    Priority,
    ResourceType,
    Status,
    StoredPolicy,
    Trends,
)
from .policy import Policy, SessionQuota, Step, in_order, steps
from .transport import transport_for
from .transport.address import is_mqtt, is_network
from .transport.base import Transport

# What happens to links is logged to "boardwarden"; whoever wants to see it adds a handler.
logging.getLogger(__package__).addHandler(logging.NullHandler())
_log = logging.getLogger(__name__)

_CTRL_C = b"\x03"
_MAX_UNREAD_SAMPLES = 256  # of who reads every one
_MAX_UNREAD_GAPS = 64
_MEAN = ids.STATISTICS.index("mean")
_REQUEST_TIMEOUT_S = 5.0
_MIRRORED_TIMEOUT_S = 3.0  # by then a board has sent the rows that changed, again if they got lost
_PREEMPTION_GRACE_S = 2.0  # which the board gives to an operation that it preempts
_DEFAULT_TTL_S = 60.0  # of the board
_METERS_FOR_MS = 6000  # the board stops sending them by itself so long after the last request
_RENEW_METERS_S = 2.0
_STOP_METERS_S = 1.0  # who ends waits no longer for a board that is silent
_NOT_ADMITTED = (OperationState.WAITING, OperationState.ADMITTING)
_ALREADY_ENDED = (NotFound, BoardRestarted, LinkLost)  # there is nothing left to give back
T = TypeVar("T")


@contextlib.asynccontextmanager
async def connect(
    address: str | Transport, *, timeout: float = 5.0, key: str | Path | None = None
) -> AsyncIterator[Board]:
    """Connect to the board at an address, such as "/dev/ttyACM0", "tcp://host:port" or "sim".

    When the block begins, the mirror holds the board's full state; it follows the board until the
    block ends. Raises a ConnectError if the address cannot be opened, if no agent answers within
    `timeout` seconds, or if the state is not complete after three times that. At a broker, where a
    board may be quiet, and may not hear this host, it waits 12 s at least for one that is said to
    be online, and half a minute longer for the state. Never resets the board.

    key: the file with the fleet's secret, of which the board has to prove that it has its part;
    else BOARDWARDEN_KEY names it, for a board on the network. Raises KeyRefused or KeyFileError.
    """
    transport = transport_for(address) if isinstance(address, str) else address
    secret = None
    if key is not None:
        secret = keys.load(key)
    elif is_network(transport.address) or is_mqtt(transport.address):
        secret = keys.from_environment()
    board = Board(transport, secret)
    try:
        await board._session.start(timeout)
        if board.version_note is not None:
            _log.info("%s: %s", transport.address, board.version_note)
        yield board
    finally:
        await board.close()


class Board:
    """One board. Attributes are its mirror and do no I/O; methods that are awaited send a request.

    What is awaited raises RequestTimeout if no reply came in 5 seconds, RequestRefused if the board
    refuses, BoardRestarted if the board restarted before it replied, LinkLost once it is closed.
    """

    def __init__(self, transport: Transport, secret: Secret | None = None) -> None:
        self._closed = False
        self._next_change = SmallEvent()  # any change of the mirror
        self._change_count = 0  # of changes that are not samples
        self._logged_restarts = 0
        self._sample_queues: list[deque[Status]] = []  # one for each reader of every sample
        self._gap_queues: list[deque[tuple[int | None, float, float]]] = []  # and of gaps
        self._cleanups: set[asyncio.Task[None]] = set()  # requests that nobody waits for
        self._meter_readers = 0
        self._meter_renewal: asyncio.Task[None] | None = None
        self._console = Console()
        self._mirror = Mirror(self._on_sample, self._on_change, self._on_gap)
        self._session = Session(transport, self._mirror, self._console.put, secret)

    def __repr__(self) -> str:
        """Return the kind and the address, such as <Board sim>."""
        return f"<{type(self).__name__} {self.address}>"

    # --- the mirror: no I/O ---------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The address that the board was opened by."""
        return self._session.link.address

    @property
    def status(self) -> Status:
        """The board's state; `.age_s` says how old its figures are."""
        return self._mirror.status

    @property
    def capabilities(self) -> Mapping[str, Capability]:
        """What the board can measure, by name, and why it cannot measure the rest."""
        return self._mirror.capabilities

    @property
    def version_note(self) -> str | None:
        """What to know of an agent of another minor version; None of one of this host's.

        It is read all the same; one of another major version is a VersionMismatch.
        """
        return diagnosis.other_minor_version(self.status.board.protocol)

    @property
    def fragmentation(self) -> float | None:
        """The share of the board's free memory that is outside its largest free block.

        None where the board cannot find that block: see `capabilities["largest_free_block"]`.
        """
        return self.status.memory.fragmentation

    @property
    def history(self) -> History:
        """The samples received, and what fetch_history() read."""
        return self._mirror.history

    @property
    def allocations(self) -> tuple[Lease, ...]:
        """The leases that have not ended, the application's and those of hosts, oldest first."""
        return self._mirror.leases.models

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations that run, wait, or have not stopped yet, oldest first."""
        return self._mirror.operations.models

    @property
    def sessions(self) -> tuple[BoardSession, ...]:
        """The open sessions; a host has one, "host …", from its first grant on."""
        return self._mirror.sessions.models

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The thresholds that the board watches, each with its present level."""
        return self._mirror.thresholds.models

    @property
    def limits(self) -> Limits:
        """What set_limits() sets; all None if the board only measures."""
        return self._mirror.limits

    @property
    def memory_profiles(self) -> tuple[MemoryProfile, ...]:
        """How much memory operations took at most and typically, by name."""
        return self._mirror.memory_profiles.models

    @property
    def exceptions(self) -> tuple[CaughtException, ...]:
        """The last five exceptions that ended something, the newest last; the same one once.

        Empty unless the application uses `warden.run()`, or asked for them itself.
        """
        return self._mirror.exceptions.models

    @property
    def resets(self) -> tuple[Reset, ...]:
        """The last ten resets, the newest last; empty under the same condition."""
        return self._mirror.resets.models

    @property
    def restarts(self) -> tuple[Restart, ...]:
        """The restarts that this connection saw, the newest last: the last 16.

        One is here once the board has sent its full state again, with the reset's cause.
        """
        return self._mirror.restarts

    @property
    def restart_count(self) -> int:
        """How many restarts this connection saw."""
        return self._mirror.restart_count

    @property
    def meters(self) -> tuple[Meter, ...]:
        """What each metered task and counted thread takes; empty except inside metering()."""
        return self._mirror.meters.models

    @property
    def recent_events(self) -> tuple[Event, ...]:
        """The last events of this boot: those the board remembered at connect, and later ones."""
        return self._mirror.events.recent

    @property
    def synced(self) -> bool:
        """Whether the mirror holds the board's full state, with nothing lost since."""
        return self._session.subscription.synced

    @property
    def connected(self) -> bool:
        """Whether the board answered, and sent something in the last 2.5 seconds."""
        return self._mirror.connected

    @property
    def asleep(self) -> bool:
        """Whether the board said that it sleeps, and nothing has come since."""
        return self._mirror.asleep

    @property
    def link(self) -> LinkStatus:
        """Counters of the link between board and host."""
        subscription, deframer = self._session.subscription, self._session.link.deframer
        return LinkStatus(
            frames=subscription.frames,
            bad_frames=self._session.damaged_frames,
            malformed_frames=self._session.malformed_frames,
            skipped_frames=subscription.skipped,
            gaps=subscription.gaps,
            dropped_frames=self._mirror.dropped_frames,
            text_bytes=deframer.text_bytes,
            reconnects=self._session.link.reconnects,
            open=self._session.link.is_open,
        )

    def trends(self, period: float = 60.0) -> Trends:
        """Fit a line through each figure's last `period` seconds; no I/O.

        Uses the samples received and what fetch_history() read.
        """
        return self._mirror.trends(period)

    # --- what the board sends -------------------------------------------------------------------

    async def wait_sample(self) -> Status:
        """Wait for the next new sample; raise LinkLost if the board is closed meanwhile."""
        seen = self._mirror.samples
        while not self._closed and self._mirror.samples == seen:
            await self._next_change.wait()
        if self._closed:
            raise diagnosis.closed()
        return self.status

    async def updates(self, *, every: bool = False) -> AsyncGenerator[Status, None]:
        """Yield the status at each new sample, the newest only if several came, until closed.

        every: yield all samples; a slow reader loses all but the last 256.
        """
        if every:
            async for status in self._every_sample():
                yield status
            return
        seen = self._mirror.samples
        while not self._closed:
            if self._mirror.samples == seen:
                await self._next_change.wait()
            else:
                seen = self._mirror.samples
                yield self.status

    async def _every_sample(self) -> AsyncGenerator[Status, None]:
        queue: deque[Status] = deque(maxlen=_MAX_UNREAD_SAMPLES)
        self._sample_queues.append(queue)
        try:
            while not self._closed:
                if queue:
                    yield queue.popleft()
                else:
                    await self._next_change.wait()
        finally:
            self._sample_queues.remove(queue)

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield whenever something besides the samples may have changed, until closed."""
        seen = self._change_count
        while not self._closed:
            if self._change_count == seen:
                await self._next_change.wait()
            else:
                seen = self._change_count
                yield

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield the events since the connection began, then each new one, until closed.

        Begins with the events that the board remembered then, 16 at most; after a restart, with
        those of that boot. Each comes once, in order; `missed` counts those that were lost. A slow
        reader loses all but the last 256.
        """
        log = self._mirror.events
        place = log.first
        while True:
            unread, place = log.since(place), log.end
            for event in unread:
                yield event
            if log.end == place:
                if self._closed:
                    return
                await self._next_change.wait()

    async def gaps(self) -> AsyncGenerator[Gap, None]:
        """Yield each time without samples once it is over, with the board's own figures of it.

        Begins with those that end from now on; each is read as by fetch_gap(). A time in which the
        board said that it sleeps, or in which monitoring was stopped, is none.
        """
        queue: deque[tuple[int | None, float, float]] = deque(maxlen=_MAX_UNREAD_GAPS)
        self._gap_queues.append(queue)
        try:
            while not self._closed:
                if queue:
                    try:
                        gap = await self._fetch_gap(*queue.popleft())
                    except LinkLost:
                        return  # it is closed
                    yield gap
                else:
                    await self._next_change.wait()
        finally:
            self._gap_queues.remove(queue)

    def console(self) -> AsyncGenerator[str, None]:
        """Yield the text that the application printed recently, then what it prints, in pieces."""
        return self._console.listen()

    # --- leases ---------------------------------------------------------------------------------

    async def allocate(
        self,
        resource: ResourceType,
        amount: float,
        owner: str = "",
        priority: Priority = Priority.NORMAL,
        ttl: float | None = 60.0,
        mount: str | None = None,
    ) -> Lease:
        """Return a lease of bytes, of a fraction of a core (CPU_TIME) or of bytes a second.

        It ends after `ttl` seconds (None: the board's default, 60), by release(), or with this
        connection. `mount` is for storage, "/" by default. Raises ValueError for arguments that
        make no sense, Denied if the board refuses.
        """
        args = _conversion.allocation(resource, amount, owner, priority, ttl, mount)
        lease_id = _typed(int, await self._acquire(ids.ALLOCATE, args, ids.RELEASE))
        found = next((lease for lease in self.allocations if lease.id == lease_id), None)
        return found or Lease(
            id=lease_id,
            resource=ResourceType(resource),
            amount=amount,
            owner=args[2],
            priority=Priority(priority),
            granted_s=self.status.cpu.uptime_s,
            mount=mount,
            _left_s=_DEFAULT_TTL_S if ttl is None else ttl,
            _received_at=passed_s(),
        )

    async def release(self, lease_id: int) -> None:
        """End a lease, whoever holds it; raise NotFound if there is none (any more)."""
        await self._request(ids.RELEASE, _conversion.identifier(lease_id))

    @contextlib.asynccontextmanager
    async def lease(
        self,
        resource: ResourceType,
        amount: float,
        owner: str = "",
        priority: Priority = Priority.NORMAL,
        ttl: float | None = 60.0,
        mount: str | None = None,
    ) -> AsyncIterator[Lease]:
        """Hold a lease inside the block, but no longer than `ttl` seconds; see allocate()."""
        lease = await self.allocate(resource, amount, owner, priority, ttl, mount)
        async with self._ended_after(self.release, lease.id):
            yield lease

    # --- operations -----------------------------------------------------------------------------

    async def begin(
        self,
        name: str,
        priority: Priority = Priority.NORMAL,
        timeout: float | None = None,
        memory: int | None = None,
        wait: float = 0.0,
    ) -> Operation:
        """Return an operation that is admitted, or raise Denied.

        The board tells it to stop after `timeout` seconds (None: the board's default); it ends with
        this connection. `memory` bytes are granted with it or nothing is; LEARNED stands for the
        most that operations of its name needed so far. It waits up to `wait` seconds to be
        admitted, and up to two more for one that it preempts.
        """
        args = _conversion.operation(name, priority, timeout, memory, wait)
        reply = _list(await self._acquire(ids.BEGIN, args, ids.COMPLETE), at_least=2)
        operation_id, state = (_typed(int, item) for item in reply[:2])
        if state in _NOT_ADMITTED:
            return await self._admitted(operation_id, wait)
        return self._operation(operation_id) or Operation(
            id=operation_id,
            name=args[0],
            priority=Priority(priority),
            state=OperationState.ACTIVE,
            began_s=self.status.cpu.uptime_s,
            memory_bytes=None if memory == _conversion.LEARNED else memory,
            _left_s=self.limits.operation_timeout_s if timeout is None else timeout,
            _received_at=passed_s(),
        )

    async def complete(self, operation_id: int) -> None:
        """End an operation; raise NotFound if there is none (any more)."""
        await self._request(ids.COMPLETE, _conversion.identifier(operation_id))

    async def cancel(self, operation_id: int) -> None:
        """Tell an operation to stop, as a preemption does; raise NotFound if there is none."""
        await self._request(ids.CANCEL, _conversion.identifier(operation_id))

    @contextlib.asynccontextmanager
    async def operation(
        self,
        name: str,
        priority: Priority = Priority.NORMAL,
        timeout: float | None = None,
        memory: int | None = None,
        wait: float = 0.0,
    ) -> AsyncIterator[Operation]:
        """Run an operation during the block; complete it however the block ends; see begin()."""
        operation = await self.begin(name, priority, timeout, memory, wait)
        async with self._ended_after(self.complete, operation.id):
            yield operation

    async def can_execute(self, priority: Priority = Priority.NORMAL) -> bool:
        """Return whether begin() with this priority would be admitted now, or by preemption."""
        return _typed(bool, await self._request(ids.CAN_EXECUTE, _conversion.priority(priority)))

    def _operation(self, operation_id: int) -> Operation | None:
        return next((each for each in self.operations if each.id == operation_id), None)

    async def _admitted(self, operation_id: int, wait: float) -> Operation:
        """Wait until an operation is admitted; complete it if the caller is cancelled.

        Where its row does not come in time, to complete it tells whether it was admitted.
        """
        limit = wait + _PREEMPTION_GRACE_S + _MIRRORED_TIMEOUT_S
        deadline = asyncio.get_running_loop().time() + limit
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                return await wait_until(self._poll_admission(operation_id), deadline)
            await self.complete(operation_id)
        except NotFound:
            raise self._not_admitted() from None
        except asyncio.CancelledError:
            self._clean_up(self.complete(operation_id))
            raise
        raise diagnosis.no_reply(limit)

    async def _poll_admission(self, operation_id: int) -> Operation:
        boot_id = self._mirror.boot_id
        was_here = False  # a busy board may send its row seconds after the reply
        while not self._closed:
            self._check_boot(boot_id)
            found = self._operation(operation_id)
            if found is not None:
                if found.state not in _NOT_ADMITTED:
                    return found
                was_here = True
            elif was_here and self._session.subscription.synced:
                raise self._not_admitted()
            await self._next_change.wait()
        raise diagnosis.closed()

    def _not_admitted(self) -> BoardError:
        """Return the board's refusal of an operation that has waited for too long."""
        others = [each for each in self.operations if each.state not in _NOT_ADMITTED]
        remaining = [each.remaining_s for each in others if each.remaining_s is not None]
        blockers = tuple(each.id for each in others)
        return diagnosis.denied("operations", None, min(remaining, default=None), blockers)

    # --- limits, thresholds, meters -------------------------------------------------------------

    async def set_limits(
        self,
        max_operations: int | None = None,
        operation_timeout: float | None = None,
        memory_reserve: float | None = None,
        overrun: float | None = None,
    ) -> Limits:
        """Set the limits that are given, all or none of them; return all limits.

        max_operations: 1 to 8; operation_timeout, overrun: seconds; memory_reserve: 0 to 0.9.
        """
        args = _conversion.limits(max_operations, operation_timeout, memory_reserve, overrun)
        return _conversion.limits_from_row(_figures(await self._request(ids.SET_LIMITS, *args)))

    async def set_threshold(
        self,
        metric: str,
        warn: float | None = None,
        critical: float | None = None,
        clear: float | None = None,
        hold: float = 0.0,
        action: Action = Action.TELL,
    ) -> None:
        """Have the board watch a metric; levels are in the unit of the status.

        The level changes once the metric is beyond `warn` or `critical` for `hold` seconds, and
        ends at `clear`. Without `warn` and `critical` the threshold is removed.
        """
        args = _conversion.threshold(metric, warn, critical, clear, hold, action)
        await self._request(ids.SET_THRESHOLD, *args)

    @contextlib.asynccontextmanager
    async def metering(self) -> AsyncIterator[None]:
        """Have the board send its `meters` with each sample while the block runs."""
        await self._request(ids.TELL_METERS, _METERS_FOR_MS)
        if not self._meter_readers:
            self._mirror.watch_meters(True)
        self._meter_readers += 1
        self._meter_renewal = self._meter_renewal or asyncio.create_task(self._renew_meters())
        try:
            yield
        finally:
            self._meter_readers -= 1
            if not self._meter_readers:
                await self._stop_meters()

    async def _renew_meters(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_METERS_S)
            with contextlib.suppress(RequestError):  # the board may be back next time
                await self._request(ids.TELL_METERS, _METERS_FOR_MS)

    async def _stop_meters(self) -> None:
        try:
            await self._end_meter_renewal()
            with contextlib.suppress(RequestError, LinkLost):  # then it stops by itself
                await self._session.request(ids.TELL_METERS, 0, timeout=_STOP_METERS_S)
        finally:
            if not self._meter_readers:
                self._mirror.watch_meters(False)

    async def _end_meter_renewal(self) -> None:
        renewal, self._meter_renewal = self._meter_renewal, None
        if renewal is not None:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    # --- the whole policy -----------------------------------------------------------------------

    async def policy(self) -> Policy:
        """Return the policy in force; its `quotas` are None if the agent is too old for them."""
        limits = await self.set_limits()  # which changes none
        status = self.status
        return Policy(
            interval_s=status.wanted_interval_s or None,
            budget=status.overhead.budget,
            limits=limits,
            thresholds=in_order(list(self.thresholds)),
            quotas=await self._quotas(),
        )

    async def policy_steps(self, wanted: Policy) -> tuple[Step, ...]:
        """Return the requests that turn the board's policy into this one, none of them sent yet.

        Each is for `send_step()`. Raises PolicyError if only the budget is given and the board's
        monitoring is stopped.
        """
        return steps(await self.policy(), wanted)

    async def send_step(self, step: Step) -> None:
        """Send one of the requests of policy_steps()."""
        await self._request(step.operation, *step.arguments)

    async def apply_policy(self, wanted: Policy, save: bool = True) -> None:
        """Have the board follow a policy; with `save` also after a restart, see save_policy().

        A value that is None is left unchanged.
        """
        boot_id = self._mirror.boot_id  # the next boot has lost what was read, and each step
        steps = await self.policy_steps(wanted)
        self._check_boot(boot_id)
        for step in steps:
            await self.send_step(step)
            self._check_boot(boot_id)
        if save:
            await self.save_policy()
            self._check_boot(boot_id)

    def _check_boot(self, boot_id: int | None) -> None:
        if self._mirror.boot_id != boot_id:
            raise diagnosis.restarted()

    async def stored_policy(self) -> StoredPolicy | int:
        """Return the state of the board's stored policy; a number if only a newer board knows it.

        Raises RequestRefused if the agent is too old to store one, Denied if it only measures.
        """
        return await self._request_stored_policy("tell")

    async def save_policy(self, insist: bool = False) -> None:
        """Have the board store its present policy, which is then in force with no host, too.

        It overrides the application's own limits and thresholds. Raises Denied with the reason
        "keep:acts_now" where something is critical under it at this moment, nothing is left to
        grant, or a time ends all at once, unless you `insist`; "keep:worn", "keep:no_files",
        "keep:read_only", "keep:full" or another that begins with "keep:".
        """
        await self._request_stored_policy("insist" if insist else "write")

    async def forget_policy(self) -> None:
        """Have the board delete its stored policy: after a restart it follows its application."""
        await self._request_stored_policy("forget")

    async def _request_stored_policy(self, what: str) -> StoredPolicy | int:
        reply = _list(await self._request(ids.KEEP, ids.KEEPING.index(what)), at_least=1)
        return enum_or_int(StoredPolicy, _typed(int, reply[0]))

    async def _quotas(self) -> tuple[SessionQuota, ...] | None:
        found = []
        try:
            for place in range(ids.MAX_QUOTAS):
                value = await self._request(ids.QUOTA, place)
                if value is None:
                    break
                fields = _list(value, at_least=5)
                memory, storage, operations, ttl_ms = _figures(fields[1:5])
                quota = (memory, storage, operations, from_thousandths(ttl_ms))
                found.append(SessionQuota(_typed(str, fields[0]), *quota))
        except RequestRefused as error:
            if error.code != ids.UNKNOWN_REQUEST:
                raise
            return None
        return tuple(sorted(found, key=lambda each: each.name))

    async def leave_safe_mode(self) -> None:
        """Have a board in safe mode try its application again, now.

        Raises Denied with the reason "not_safe" if the board runs its application.
        """
        await self._request(ids.SAFE_MODE, True)

    async def safe_mode(self) -> bool:
        """Return whether the board is in safe mode, where its application does not run."""
        return _typed(bool, await self._request(ids.SAFE_MODE))

    # --- monitoring and the rest ----------------------------------------------------------------

    async def ping(self) -> float:
        """Return how many seconds a request and its reply take."""
        begin = attended_s()  # else a laptop's sleep is the board's latency
        await self._request(ids.PING)
        return attended_s() - begin

    async def start_monitoring(self, interval: float = 1.0, budget: float | None = None) -> None:
        """Have the board sample every `interval` seconds, 0.02 to 600, as far as a budget allows.

        budget: the share of the core that the agent may take, 0.001 to 1; None: as it is.
        ValueError for what makes no sense.
        """
        if interval is None:
            raise ValueError("interval must be a number of seconds.")
        interval_ms, permille = _conversion.monitoring(interval, budget)
        await self._request(
            ids.START_MONITORING, interval_ms, *(() if permille is None else (permille,))
        )

    async def stop_monitoring(self) -> None:
        """Have the board stop sampling."""
        await self._request(ids.STOP_MONITORING)

    async def collect(self) -> int:
        """Have the board collect garbage; return how many bytes that freed.

        Raises Denied if it did so a moment ago, or if the application does not allow it.
        """
        return _typed(int, await self._request(ids.COLLECT))

    async def fetch_history(
        self, metrics: Sequence[str] = BOARD_METRICS, statistics: Sequence[str] = ids.STATISTICS
    ) -> History:
        """Read the board's own history, 24 hours at most, into `history` and return that.

        It takes a request for each tier of each of these statistics of each of these metrics.
        """
        columns = product(
            range(len(ids.TIERS)),
            _conversion.places("metric", metrics, BOARD_METRICS),
            _conversion.places("statistic", statistics, ids.STATISTICS),
        )
        await self._fetch_columns(list(columns))
        return self.history

    async def fetch_gap(self, begin_s: float, end_s: float) -> Gap:
        """Read what the board's history has of a time of this boot, from uptime to uptime.

        Each part comes from the shortest slots that the board still has of it: 60 seconds, 60
        minutes or 24 hours. It takes 4 requests, 16 for more than the last minute, 28 for more than
        the last hour, which are made again where the link is lost meanwhile. What the board
        refuses, or does not answer, is in the gap's `why`; raises LinkLost once it is closed.
        """
        if not begin_s < end_s:
            raise ValueError("A gap must end after it begins.")
        return await self._fetch_gap(self._mirror.boot_id, begin_s, end_s)

    async def _fetch_gap(self, boot_id: int | None, begin_s: float, end_s: float) -> Gap:
        gap = Gap(boot_id, begin_s, end_s)
        while True:
            while not (self.connected and self.synced):
                if self._closed:
                    raise diagnosis.closed()
                await self._next_change.wait()
            losses = self._mirror.losses
            try:
                if self._mirror.boot_id == boot_id:
                    slots = await self._fetch_slots(begin_s, end_s)
                if self._mirror.boot_id != boot_id:
                    raise diagnosis.restarted()
                return replace(gap, slots=tuple(slots))
            except (RequestError, ConnectError) as error:
                if losses == self._mirror.losses or self._mirror.boot_id != boot_id:
                    return replace(gap, why=str(error))

    async def _fetch_slots(self, begin_s: float, end_s: float) -> list[HistorySlot]:
        found: list[HistorySlot] = []
        for tier in range(len(ids.TIERS)):
            statistics = range(len(ids.STATISTICS)) if tier else (_MEAN,)  # of a second all are it
            keys = list(product(range(len(BOARD_METRICS)), statistics))
            read = await self._fetch_columns([(tier, *key) for key in keys])
            columns = dict(zip(keys, read, strict=True))
            found[:0] = slots(tier, columns, begin_s, end_s)
            end_s = min(end_s, oldest_s(columns))
            if end_s <= begin_s:
                break
        return found

    async def _fetch_columns(self, columns: list[tuple[int, int, int]]) -> list[Column]:
        # A column's time begins when it may be asked for: a board may answer one request a second.
        limiter = asyncio.Semaphore(ids.MAX_PENDING)
        reading = [asyncio.create_task(self._fetch_column(limiter, *each)) for each in columns]
        try:
            return await asyncio.gather(*reading)
        finally:
            for task in reading:  # once one has failed, nobody waits for the others
                task.cancel()

    async def _fetch_column(
        self, limiter: asyncio.Semaphore, tier: int, metric: int, statistic: int
    ) -> Column:
        timeout = 2 * _REQUEST_TIMEOUT_S  # for it may queue behind others
        args = (tier, metric, statistic)
        async with limiter:
            value = await self._session.request(ids.HISTORY_READ, *args, timeout=timeout)
        read = column(value, metric)
        self.history.put(*args, read)
        return read

    async def interrupt(self) -> None:
        """Send Ctrl-C, which stops the application; raise LinkLost if there is no link."""
        await self._session.link.write(_CTRL_C)

    async def close(self) -> None:
        """End the connection; connect() does so by itself."""
        self._closed = True
        self._next_change.notify_all()
        self._console.close()
        try:
            await self._end_meter_renewal()
            for task in self._cleanups:
                task.cancel()
            await asyncio.gather(*self._cleanups, return_exceptions=True)
        finally:
            await self._session.close()

    # --- requests, and what they change ---------------------------------------------------------

    async def _request(self, operation: int, *args: Any) -> Any:
        """Return the reply's value, once the mirror shows what the request changed.

        The reply comes before the rows. Where they do not come, or have changed again since, it
        returns all the same.
        """
        value = await self._session.request(operation, *args, timeout=_REQUEST_TIMEOUT_S)
        if not self._mirror.shows(operation, args, value):
            deadline = asyncio.get_running_loop().time() + _MIRRORED_TIMEOUT_S
            with contextlib.suppress(asyncio.TimeoutError):  # one wait: see wait_until()
                await wait_until(self._until_shown(operation, args, value), deadline)
        return value

    async def _until_shown(self, operation: int, args: tuple[Any, ...], value: Any) -> None:
        boot_id = self._mirror.boot_id
        while not self._mirror.shows(operation, args, value):
            if self._closed or self._mirror.boot_id != boot_id:
                break
            await self._next_change.wait()

    async def _acquire(self, operation: int, args: _conversion.Arguments, undo: int) -> Any:
        """Send a request; if the caller is cancelled meanwhile, give back what was granted."""
        granting = asyncio.create_task(self._request(operation, *args))
        try:
            return await asyncio.shield(granting)
        except asyncio.CancelledError:
            granting.add_done_callback(_see_error)
            self._clean_up(self._give_back(granting, undo))
            raise

    async def _give_back(self, granting: asyncio.Task[Any], undo: int) -> None:
        value = await granting
        await self._request(undo, value[0] if isinstance(value, list) else value)

    @contextlib.asynccontextmanager
    async def _ended_after(
        self, end: Callable[[int], Coroutine[Any, Any, None]], number: int
    ) -> AsyncIterator[None]:
        """End a lease or operation after the block; an error of the block hides one of the ending.

        If the caller is cancelled meanwhile, it is ended all the same.
        """

        async def ended() -> None:
            ending = asyncio.create_task(end(number))
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                ending.add_done_callback(_see_error)
                self._clean_up(_done(ending))
                raise

        try:
            yield
        except BaseException:
            with contextlib.suppress(BoardError):
                await ended()
            raise
        with contextlib.suppress(*_ALREADY_ENDED):
            await ended()

    def _clean_up(self, work: Coroutine[Any, Any, None]) -> None:
        """Give something back in the background; if that fails, the board ends it by itself."""

        async def quietly() -> None:
            with contextlib.suppress(BoardError):
                await work

        task = asyncio.create_task(quietly())
        self._cleanups.add(task)
        task.add_done_callback(self._cleanups.discard)
        task.add_done_callback(lambda _: work.close())  # where close() came before its beginning

    def _on_sample(self) -> None:
        for queue in self._sample_queues:
            queue.append(self.status)
        self._next_change.notify_all()

    def _on_gap(self, begin_s: float, end_s: float) -> None:
        for queue in self._gap_queues:
            queue.append((self._mirror.boot_id, begin_s, end_s))

    def _on_change(self) -> None:
        new, self._logged_restarts = self.restart_count - self._logged_restarts, self.restart_count
        for restart in self.restarts[-new:] if new else ():
            _log.info("%s: %s", self.address, restart)
        self._change_count += 1
        self._next_change.notify_all()


def _see_error(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from logging an error that no caller waits for any more."""
    if not task.cancelled():
        task.exception()


async def _done(task: asyncio.Task[None]) -> None:
    await task


def _typed(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise diagnosis.not_understood()
    return value


def _list(value: Any, at_least: int = 0) -> list[Any]:
    if not isinstance(value, list) or len(value) < at_least:
        raise diagnosis.not_understood()
    return value


def _figures(value: Any) -> list[int | None]:
    return [None if item is None else _typed(int, item) for item in _list(value)]
