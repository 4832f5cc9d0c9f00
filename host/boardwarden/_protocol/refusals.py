"""Maps an error reply to an exception whose text says who blocks, how much there is, and when."""

from __future__ import annotations

from typing import Any

from boardwarden.errors import Denied, NotFound, RequestRefused
from warden_schema import ids

_SENTENCES = {
    ids.UNKNOWN_REQUEST: "The board's agent is too old for this; install a newer agent.",
    ids.BAD_ARGUMENTS: "The board refuses these arguments; check their range in docs/wire.md.",
    ids.FAILED: "The board's agent failed with {value}; look at what the board prints.",
}
_NOT_FOUND = "The board has no lease or operation of that id; it may have ended."
_REASONS = {
    "memory": "not enough memory is free",
    "storage": "not enough storage is free",
    "cpu_time": "not enough of the core is free",
    "bandwidth": "not enough bandwidth is free",
    "fragmented": "no free block of memory is large enough",
    "operations": "no place for an operation is free",
    "table": "the board's table is full",
    "pressure": "a protected figure is critical, so only high priorities are granted any",
    "watching": "the board's application started the agent with protect=False, to measure only",
    "collected": "garbage was collected only just now",
    "not_safe": "it is not in safe mode",
    "gc_off": "the application has switched collections off",
    "keep:no_files": "the board has no file system to keep a policy in",
    "keep:read_only": "the board's file system is read-only, so it can keep no policy",
    "keep:full": "the board's file system is too full to keep a policy",
    "session": "the session is closed",
    "quota:memory": "the session's quota of memory is used up",
    "quota:storage": "the session's quota of storage is used up",
    "quota:operations": "the session's quota of operations is used up",
}
_UNITS = {"cpu_time": "of a core", "bandwidth": "bytes a second"}


def refusal(code: int, value: Any) -> RequestRefused:
    """Return the error that a reply with this code stands for; never raises."""
    if code == ids.DENIED:
        return _denied(value)
    if code == ids.NOT_FOUND:
        return NotFound(_NOT_FOUND, code, value)
    sentence = _SENTENCES.get(code, "The board refuses the request with code {code}.")
    return RequestRefused(sentence.format(code=code, value=value), code, value)


def denied(
    reason: str,
    available: float | None = None,
    retry_after_s: float | None = None,
    blockers: tuple[int, ...] = (),
    value: object = None,
) -> Denied:
    """Return the error for a reason, with a sentence that says all of it."""
    parts = [_REASONS.get(reason) or _other(reason)]
    if available is not None:
        parts.append(f"{available:.10g} {_UNITS.get(reason, 'bytes')} are available")
    if blockers:
        parts.append(f"in the way: {', '.join(map(str, blockers))}")
    if retry_after_s is not None:
        parts.append(f"try again in {retry_after_s:.3g} s")
    return Denied(
        f"Denied: {'; '.join(parts)}.",
        ids.DENIED,
        value,
        reason=reason,
        available=available,
        retry_after_s=retry_after_s,
        blockers=blockers,
    )


def _other(reason: str) -> str:
    """Return the text of a reason that has no sentence of its own."""
    number = reason.removeprefix("keep:")
    if number != reason:
        return f"the board's file system refuses to keep a policy, with error {number}"
    return reason or "the board did not say why"


def _denied(value: Any) -> Denied:
    fields = [*(value if isinstance(value, list) else ()), *[None] * 4]
    reason = fields[0] if isinstance(fields[0], str) else ""
    blockers = fields[3] if isinstance(fields[3], list) else ()
    available, retry_after_ms = _int_or_none(fields[1]), _int_or_none(fields[2])
    if available is not None and reason == "cpu_time":
        available /= 1000
    return denied(
        reason,
        available,
        None if retry_after_ms is None else retry_after_ms / 1000,
        tuple(blocker for blocker in blockers if isinstance(blocker, int)),
        value,
    )


def _int_or_none(value: Any) -> float | None:
    return value if isinstance(value, int) else None
