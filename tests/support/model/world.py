"""Plays steps to the model, and says what a board must be told and what it must then answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from boardwarden._protocol import messages
from boardwarden._protocol.link import Deframer, frame
from warden_schema import ids

from .board import Command
from .hosts import (
    ALLOCATE,
    BEGIN,
    CAN_EXECUTE,
    DENIED,
    RELEASE,
    REQUEST,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Host,
    Hosts,
    Reply,
)
from .rules import MEMORY, Bad, Denied, Rules
from .steps import Step

_UNKNOWN = 999  # an id that nothing has
_LEASES, _OPERATIONS, _SESSIONS = "leases", "operations", "sessions"


@dataclass
class Expected:
    """What a step must bring."""

    step: Step
    result: Any
    state: dict[str, Any]
    replies: dict[int, Reply]


class World:
    """The model of a board with an application and two hosts, and what was expected of it."""

    def __init__(self, max_operations: int) -> None:
        self.rules = Rules(max_operations)
        self.two = (Host(101), Host(102))
        self.hosts = Hosts(self.rules)
        self.commands: list[Command] = []
        self.expected: list[Expected] = []
        self._seen: dict[str, list[int]] = {_LEASES: [], _OPERATIONS: [], _SESSIONS: []}

    def play(self, step: Step) -> None:
        """Have a step happen, unless it is about something that was never made."""
        name, *arguments = step
        if hasattr(self, "_host_" + name):
            getattr(self, "_host_" + name)(step, self.two[arguments[0]], *arguments[1:])
        elif (command := getattr(self, "_" + name)(*arguments)) is not None:
            self._happens(step, [name, *command[0]], command[1])

    def end(self) -> None:
        """Let all end: first by time, with all hosts lost, then what has no end of its own."""
        for ms in (11_000, 400_000, 2000):
            self.play(("time", ms))
        for name, table, model in (
            ("close", self.rules.sessions, self.rules.close),
            ("complete", self.rules.operations, self._completed),
            ("release", self.rules.leases, self.rules.release),
        ):
            for each in list(table):
                self._happens((name, each), [name, each], partial(model, each))

    # --- the application and time: what the board is told, what the model does ------------------

    def _allocate(self, resource, priority, ttl_ms, session, backed, consents, mount):
        kind, amount = resource
        session = self._recent(_SESSIONS, session)
        backed = backed and amount <= 30_000  # the test board's own heap must have it
        told = [kind, amount, "app", priority, ttl_ms, session, backed, consents, mount]
        wanted = (session, kind, amount, "app", priority, ttl_ms, backed, consents > 0, mount)
        return told, lambda: self.rules.allocate_in(*wanted)

    def _release(self, nth):
        lease = self._recent(_LEASES, nth)
        return lease and ([lease], lambda: self.rules.release(lease))

    def _commit(self, nth):
        lease = self.rules.leases.get(self._recent(_LEASES, nth))
        if lease is None or lease.kind != MEMORY:  # of the others the virtual board takes nothing
            return None
        return [lease.id], lambda: self.rules.commit(lease.id)

    def _begin(self, priority, timeout_ms, memory, wait_ms, session):
        session = self._recent(_SESSIONS, session)
        wanted = (session, priority, timeout_ms, memory, wait_ms)
        return [*wanted[1:], session], lambda: self.rules.begin_in(*wanted)

    def _complete(self, nth):
        op = self._recent(_OPERATIONS, nth)
        return op and ([op], lambda: self._completed(op))

    def _completed(self, op):
        self.rules.complete(op)
        self.rules.give_places()

    def _check(self, nth):
        op = self._recent(_OPERATIONS, nth)
        return op and ([op], lambda: self.rules.whys.get(op))

    def _can_execute(self, priority):
        return [priority], lambda: self.rules.can_execute(priority)

    def _open(self, *quotas):
        return quotas, lambda: self.rules.open(*quotas)

    def _close(self, nth):
        session = self._recent(_SESSIONS, nth)
        return session and ([session], lambda: self.rules.close(session))

    def _set_limits(self, limit, reserve_permille):
        def model():
            self.rules.limit, self.rules.reserve_permille = limit, reserve_permille
            return [limit, 300_000, reserve_permille, 5000]

        return [limit, reserve_permille], model

    def _time(self, ms):
        def model():
            self.rules.now += ms

        return [ms], model

    def _recent(self, what, nth):
        seen = self._seen[what]
        return seen[-1 - nth] if nth is not None and nth < len(seen) else None

    def _happens(self, step: Step, command: Command, model: Callable[[], Any]) -> None:
        try:
            result = ["ok", model()]
        except Denied as refusal:
            result = ["denied", refusal.args[0]]
        except Bad:
            result = ["bad"]
        self._note(step, command, result, {})

    # --- the hosts ------------------------------------------------------------------------------

    def _host_say(self, step: Step, host: Host, kind: int) -> None:
        self._hears(step, host, kind)

    def _host_again(self, step: Step, host: Host, nth: int) -> None:
        """A copy of a request arrives late; or the first one does, which the host sent again."""
        if nth < len(host.sent):
            self._hears(step, host, REQUEST, len(host.sent) - 1 - nth)

    def _host_ask_allocate(self, step, host, copies, resource, priority, ttl_ms, mount):
        arguments = [*resource, "host", priority, ttl_ms, mount]
        self._asks(step, host, copies, ALLOCATE, arguments)

    def _host_ask_begin(self, step, host, copies, *arguments):
        self._asks(step, host, copies, BEGIN, ["op", *arguments])

    def _host_ask_about(self, step, host, copies, operation, nth):
        if operation != CAN_EXECUTE:
            nth = self._recent(_LEASES if operation == RELEASE else _OPERATIONS, nth) or _UNKNOWN
        self._asks(step, host, copies, operation, [nth])

    def _asks(
        self, step: Step, host: Host, copies: int, operation: int, arguments: list[Any]
    ) -> None:
        """A host makes a request, of which so many copies arrive; 0: not yet, see "again".

        Before that it does what a host must: it subscribes, and repeats the request that must be
        answered before another one is made.
        """
        if self.hosts.listener is not host:
            self._hears(("say", host.id, SUBSCRIBE), host, SUBSCRIBE)
        oldest = len(host.sent) - ids.MAX_PENDING
        if oldest >= 0 and oldest not in host.replies:
            self._hears(("retry", host.id, oldest), host, REQUEST, oldest)
        host.sent.append((operation, arguments))
        if copies:
            self._hears(step, host, REQUEST, len(host.sent) - 1, copies)

    def _hears(
        self, step: Step, host: Host, kind: int, request_id: int = 0, copies: int = 1
    ) -> None:
        if kind == SUBSCRIBE:
            payload = messages.subscribe(host.id)
        elif kind == UNSUBSCRIBE:
            payload = messages.unsubscribe(host.id)
        elif kind == REQUEST:
            payload = messages.request(host.id, request_id, *host.sent[request_id])
        else:
            payload = messages.keepalive(host.id, None)
        replies: dict[int, Reply] = {}
        for _ in range(copies):
            replies.update(self.hosts.hear(host, kind, request_id))
        data = (frame(payload) * copies).hex()
        self._note(step, ["receive", data], ["ok", None], replies)

    # --- what was expected ------------------------------------------------------------------------

    def _note(self, step: Step, command: Command, result: Any, replies: dict[int, Reply]) -> None:
        self.rules.tick()
        self.hosts.tick()
        state = self.rules.state()
        state["host"] = self.hosts.listener.id if self.hosts.listener else 0
        for table, seen in self._seen.items():
            seen += [row[0] for row in state[table] if row[0] not in seen]
        self.commands += [command, ["poll"], ["sent"]]
        self.expected.append(Expected(step, result, state, replies))

    def check(self, results: list[Any]) -> None:
        """Compare what a board answered to `commands`, step by step."""
        for number, expected in enumerate(self.expected):
            result, (_, state), (_, told) = results[3 * number : 3 * number + 3]
            where = f"step {number}, {expected.step}"
            assert result == expected.result, where
            assert replies_in(bytes.fromhex(told)) == expected.replies, where
            assert state == expected.state, where


def replies_in(data: bytes) -> dict[int, Reply]:
    """Return the code and value of each REPLY that a board told; of a refusal only the reason."""
    found = {}
    for item in Deframer().feed(data):
        message = messages.decode(item) if isinstance(item, bytes) else None
        assert message is not None, "the board said what is no message"
        if message[0] == ids.REPLY:
            request_id, code, value = message[2:5]
            found[request_id] = [code, value[0] if code == DENIED else value]
    return found
