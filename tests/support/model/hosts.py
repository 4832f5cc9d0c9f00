"""What hosts may expect over a link that loses, repeats and delays: docs/wire.md, said plainly.

A host's request takes effect when its first copy arrives while that host is listened to; each
later copy brings the first answer again, as long as no request four or more later has come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .rules import Bad, Denied, Rules

SUBSCRIBE, UNSUBSCRIBE, KEEPALIVE, REQUEST = range(64, 68)
ALLOCATE, RELEASE, BEGIN, COMPLETE, CAN_EXECUTE, SET_LIMITS = range(4, 10)
CANCEL = 11
OK, BAD_ARGUMENTS, DENIED, NOT_FOUND = 0, 2, 4, 5
SILENCE_MS = 3000
SESSION_MS = 10_000

Reply = list[Any]  # code, value


@dataclass
class Host:
    id: int
    sent: list[tuple[int, list[Any]]] = field(default_factory=list)  # operation, arguments
    replies: dict[int, Reply] = field(default_factory=dict)  # by request id
    session: int | None = None


@dataclass
class Hosts:
    rules: Rules
    listener: Host | None = None
    heard: int = 0

    def hear(self, host: Host, kind: int, request_id: int = 0) -> dict[int, Reply]:
        """A frame of a host arrives; return the replies that the board sends."""
        if kind == SUBSCRIBE:
            self.listener = host
        if self.listener is not host:
            return {}
        if kind == UNSUBSCRIBE:
            self.listener = None
            self.rules.close(host.session or 0)
            return {}
        self.heard = self.rules.now
        self.rules.renew(host.session or 0)
        return self.request(host, request_id) if kind == REQUEST else {}

    def request(self, host: Host, request_id: int) -> dict[int, Reply]:
        if any(done > request_id and (done - request_id) % 4 == 0 for done in host.replies):
            return {}  # a late repeat, of one that was answered long ago
        if request_id not in host.replies:
            host.replies[request_id] = self.carry_out(host, *host.sent[request_id])
        return {request_id: host.replies[request_id]}

    def carry_out(self, host: Host, operation: int, arguments: list[Any]) -> Reply:
        try:
            return [OK, self.do(host, operation, arguments)]
        except Denied as refusal:
            return [DENIED, refusal.args[0]]
        except KeyError:
            return [NOT_FOUND, None]
        except Bad:
            return [BAD_ARGUMENTS, None]

    def do(self, host: Host, operation: int, arguments: list[Any]) -> Any:
        rules = self.rules
        if operation == ALLOCATE:
            kind, amount, owner, priority, ttl_ms, mount = arguments
            session = self.session_of(host)
            return rules.allocate_in(
                session, kind, amount, owner, priority, ttl_ms or 60_000, False, False, mount
            )
        if operation == BEGIN:
            _, priority, timeout_ms, memory, wait_ms = arguments
            session = self.session_of(host)
            return rules.begin_in(session, priority, timeout_ms, memory, wait_ms or 0)
        if operation == RELEASE:
            return rules.release(rules.leases[arguments[0]].id)
        if operation == COMPLETE:
            return rules.complete(rules.operations[arguments[0]].id)
        if operation == CANCEL:
            return rules.stop(rules.operations[arguments[0]], "Preempted")
        return rules.can_execute(arguments[0])

    def session_of(self, host: Host) -> int:
        """Return the session that holds what a host has; opened when it first asks for a thing."""
        if host.session not in self.rules.sessions:
            host.session = self.rules.open(None, None, None, SESSION_MS)
        assert host.session is not None
        return host.session

    def tick(self) -> None:
        if self.rules.now - self.heard > SILENCE_MS:
            self.listener = None
