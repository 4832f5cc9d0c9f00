"""Decodes and checks the board's messages, finds out what came whole, and encodes the host's.

Fields and kinds: docs/wire.md and `warden_schema.ids`. A message is a list: the kind, then its
fields; fields that an older board does not send are None here.
"""

from __future__ import annotations

import functools
from types import NoneType
from typing import Any

import msgpack

from warden_schema import ids

Message = list[Any]

_SCALARS = {int, bool, NoneType, str, bytes}
_VALUES = _SCALARS | {list}
_FIGURES = {int, NoneType}
MAX_ROWS = 64  # of any table; far above today's, so that a later version may have more
MAX_EARLY_EVENTS = 64  # far more than a board remembers
MAX_INT = 2**53  # of any integer: what a float has exactly, and SQLite and JSON readers hold
_LONG = (b"\xcf", b"\xd3")  # how msgpack begins an integer of 64 bits

_DELTA_FIELDS = len(ids.FIELDS[ids.DELTA]) + 1
_NUMBER = (int,)
_FIGURE = (int, NoneType)
_TEXT = (str,)
_TEXT_OR_NONE = (str, NoneType)
_FLAG = (bool, int, NoneType)
# The type of each field that the session and the mirror rely on. A HELLO's later fields are
# looked at only after its major version, which may lay them out in another way.
_TYPES: dict[int, tuple[tuple[type, ...], ...]] = {
    ids.HELLO: (_NUMBER, _NUMBER, _NUMBER, _NUMBER),
    ids.REFUSED: (*[_NUMBER] * 4, (list, NoneType)),
    ids.SAMPLE: (_NUMBER, (list,)),
    ids.STORAGE: (_NUMBER, _NUMBER, _NUMBER, _TEXT_OR_NONE, *[_FIGURE] * 4, (list, NoneType)),
    ids.SYNCED: (_NUMBER, _NUMBER),
    ids.ALIVE: (_NUMBER,),
    ids.ASLEEP: (_NUMBER,),
    ids.REPLY: (_NUMBER, _NUMBER, _NUMBER, (*_VALUES,), _FIGURE),
    ids.LEASE: (
        *(*[_NUMBER] * 5, _TEXT, _NUMBER),  # seq, row, id, resource, amount, owner, priority
        *(_FIGURE, _NUMBER, _FIGURE, _FLAG, _TEXT_OR_NONE),  # session, granted_s, left_ms, …
    ),
    ids.OPERATION: (
        *(*[_NUMBER] * 3, _TEXT, *[_NUMBER] * 3, _TEXT),  # …, name, priority, state, permille, text
        *(*[_FIGURE] * 4, _TEXT_OR_NONE),  # session, began_s, left_ms, memory, why
    ),
    ids.SESSION: (*[_NUMBER] * 3, _TEXT, *[_FIGURE] * 4),
    ids.EVENT: (_NUMBER, _NUMBER, _TEXT, _NUMBER, _NUMBER, _FIGURE, _TEXT_OR_NONE, _FIGURE),
    ids.ROWS: (*[_NUMBER] * 4, (list,), *[_FIGURE] * 3),
    ids.THRESHOLD: (*[_NUMBER] * 3, *[_FIGURE] * 3, *[_NUMBER] * 3, _FIGURE),
    ids.METER: (*[_NUMBER] * 3, _TEXT, _NUMBER, _NUMBER, *[_FIGURE] * 4),
    ids.NEED: (_NUMBER, _NUMBER, _TEXT, _NUMBER, _FIGURE, _FIGURE),
    ids.DELTA: (_NUMBER,) * 14,
    ids.RESTART: (
        *(*[_NUMBER] * 3, _TEXT_OR_NONE, *[_NUMBER] * 3, _FIGURE, _TEXT_OR_NONE),
        *(*[_FIGURE] * 4, (bytes, NoneType)),  # after who
    ),
    ids.EXCEPTION: (*[_NUMBER] * 4, _TEXT_OR_NONE, _NUMBER, _FIGURE, (bytes,)),
    ids.SYSTEM_HEAP: (_NUMBER, *[_FIGURE] * 3),
    ids.CHALLENGE: (_NUMBER, _NUMBER, (bytes,), _NUMBER, (bytes,), _FIGURE),
    ids.PROVED: (_NUMBER, (bytes,), _FIGURE),
    ids.KEY_REFUSED: (_NUMBER, _NUMBER, _FIGURE),
}
# Kinds that carry one row of a table, its place in the field after seq.
ROWS_OF = (
    *(ids.LEASE, ids.OPERATION, ids.SESSION, ids.THRESHOLD, ids.METER, ids.NEED),
    *(ids.EXCEPTION, ids.RESTART),
)
_HELLO_TAIL = (_NUMBER, (list,), (list, NoneType), (bytes, NoneType))
_DELTA_PLACES = tuple(ids.SAMPLE_VALUES.index(name) for name in ids.DELTA_VALUES)
_LEAST_SAMPLE = max(_DELTA_PLACES) + 1  # values; an older board may not send all that we know


def decode(payload: bytes) -> Message | None:
    """Return the message in a payload, padded to its kind's FIELDS; None if it is malformed.

    A kind from a later version is returned as it is, if it has a sequence number.
    """
    try:
        message = msgpack.unpackb(payload)  # makes nothing longer than the payload is
    except ValueError:  # msgpack's own errors all are
        return None
    if type(message) is not list or not message or message[0] != payload[1]:
        return None  # in another form, a kind would be taken for one that need not be signed
    if any(first in payload for first in _LONG) and not _in_range(_known(message)):
        return None
    if _is_plain_sample(message) or _is_plain_delta(message):
        return message
    return _shaped(message) if _in_subset(message, ids.MAX_DEPTH) else None


def head(payload: bytes) -> tuple[int, int, Any] | None:
    """Return kind, sequence number and first field of a malformed message; None without them."""
    try:
        message = msgpack.unpackb(payload)
    except ValueError:
        return None
    if type(message) is not list or len(message) < 2:
        return None
    kind, seq, *fields = message
    if type(kind) is not int or type(seq) is not int or not 0 <= seq <= 0xFFFF:
        return None
    first = fields[0] if fields else None
    return kind, seq, first if type(first) in _SCALARS else None


def _known(message: Message) -> Message:
    """Return the fields that this version looks at."""
    kind: int = message[0] if type(message[0]) is int else 0
    count = len(ids.FIELDS.get(kind, ())) + 1 if kind != ids.DELTA else len(message)
    return message[:count]


def _in_range(items: list[Any]) -> bool:
    """Return whether all integers, in lists too, are at most MAX_INT in size."""
    return all(
        -MAX_INT <= item <= MAX_INT
        if type(item) is int
        else type(item) is not list or _in_range(item)
        for item in items
    )


def _is_plain_sample(message: Message) -> bool:
    """Return whether this is a well-formed SAMPLE, by a check that is fast."""
    return (
        len(message) == 3
        and type(message[0]) is int
        and message[0] == ids.SAMPLE
        and type(message[1]) is int
        and 0 <= message[1] <= 0xFFFF
        and type(message[2]) is list
        and set(map(type, message[2])) <= _FIGURES
    )


def _is_plain_delta(message: Message) -> bool:
    return (
        len(message) >= _DELTA_FIELDS
        and message[0] == ids.DELTA
        and set(map(type, message)) == {int}
        and 0 <= message[1] <= 0xFFFF
    )


def _in_subset(items: list[Any], depth: int) -> bool:
    """Return whether there is no float, map or extension, and at most `depth` levels of arrays."""
    kinds = set(map(type, items))
    if kinds <= _SCALARS:
        return True
    if depth == 1 or not kinds <= _VALUES:
        return False
    return all(_in_subset(item, depth - 1) for item in items if type(item) is list)


def _shaped(message: Message) -> Message | None:
    kind = message[0]
    if type(kind) is not int or not 0 < kind < 128:
        return None
    if kind >= ids.FIRST_HOST_KIND:
        return message  # our own, echoed
    missing = len(ids.FIELDS.get(kind, ("seq",))) + 1 - len(message)
    if missing > 0:
        message.extend([None] * missing)
    types = _TYPES.get(kind, (_NUMBER,))
    if not all(type(field) in allowed for field, allowed in zip(message[1:], types, strict=False)):
        return None
    return message if 0 <= message[1] <= 0xFFFF and _sound(kind, message) else None


def _sound(kind: int, message: Message) -> bool:
    """Check what the types of the leading fields leave open."""
    if kind == ids.SAMPLE:
        return set(map(type, message[2])) <= _FIGURES
    if kind == ids.STORAGE:
        index, count, _, block_bytes, *blocks = message[2:9]
        sizes = [abs((block_bytes or 0) * (each or 0)) for each in blocks]
        return bool(0 <= index < max(1, count) <= MAX_ROWS) and max(sizes) <= MAX_INT
    if kind in ROWS_OF:
        return bool(0 <= message[2] < MAX_ROWS)
    if kind == ids.ROWS:
        return set(map(type, message[5])) <= _FIGURES
    if kind == ids.HELLO and message[2] == ids.PROTOCOL_MAJOR:
        tail = zip(message[5:], _HELLO_TAIL, strict=False)
        return all(type(field) in allowed for field, allowed in tail)
    return True


def _packed(*items: Any) -> bytes:
    data: bytes = msgpack.packb(items)
    return data


def subscribe(host_id: int, events_from: int | None = None) -> bytes:
    """Return the payload that asks for the full state, and then for every change.

    events_from: the first event that is wanted; None: all that the board remembers.
    """
    wanted = () if events_from is None else (events_from,)
    return _packed(ids.SUBSCRIBE, ids.PROTOCOL_MAJOR, ids.PROTOCOL_MINOR, host_id, *wanted)


def unsubscribe(host_id: int) -> bytes:
    """Return the payload that makes the board silent."""
    return _packed(ids.UNSUBSCRIBE, host_id)


def keepalive(host_id: int, seq: int) -> bytes:
    """Return the payload that keeps the board sending and acknowledges frames up to seq."""
    return _packed(ids.KEEPALIVE, host_id, seq)


def request(host_id: int, request_id: int, operation: int, arguments: tuple[Any, ...]) -> bytes:
    """Return the payload that asks for an operation; its reply carries the same id."""
    return _packed(ids.REQUEST, host_id, request_id, operation, arguments)


def greeting(right: int, nonce: bytes, *host_id: int) -> bytes:
    """Return the payload that begins the proof of a key; host_id: where hosts share a stream."""
    return _packed(ids.GREETING, ids.KEYS_VERSION, right, nonce, *host_id)


def proof(*proofs: bytes | int) -> bytes:
    """Return the payload that proves a key; proofs: the former key's, and a host_id, follow."""
    return _packed(ids.PROOF, *proofs)


class Deltas:
    """Turns DELTAs into SAMPLEs: remembers the last sample, and adds the changes."""

    def __init__(self) -> None:
        self._values: list[Any] = []  # int or None
        self._seq = -1

    def remember(self, message: Message) -> None:
        """Remember a SAMPLE."""
        self._seq, self._values = message[1], message[2]

    def apply(self, message: Message) -> Message | None:
        """Return the SAMPLE that a DELTA stands for; None if the one before it was lost.

        Raises ValueError for one that makes no sense.
        """
        _, seq, since, mask, ms, *changes = message
        counts_from = (seq - since + ids.DELTA_BIAS) & 0xFFFF
        if counts_from != self._seq or len(self._values) < _LEAST_SAMPLE:
            return None
        values = self._values.copy()
        try:
            for change, place in zip(changes, _changed(mask), strict=True):
                values[place] += change - ids.DELTA_BIAS
                if not -MAX_INT <= values[place] <= MAX_INT:
                    raise ValueError("a value that no board has")
            passed = values[1] + values[2] + ms - ids.DELTA_BIAS
            values[0] += passed // 1000
        except TypeError:
            raise ValueError("a change of an unknown value") from None
        values[1] = passed % 1000
        self._seq, self._values = seq, values
        return [ids.SAMPLE, seq, values]


@functools.lru_cache(maxsize=256)
def _changed(mask: int) -> tuple[int, ...]:
    """Return the places of the values that a mask names; ValueError for bits that name none."""
    if not 0 <= mask < 1 << len(_DELTA_PLACES):
        raise ValueError("no such value")
    return tuple(place for bit, place in enumerate(_DELTA_PLACES) if mask >> bit & 1)


# --- what came complete and in order, though frames get lost --------------------------------------


class Snapshot:
    """Tracks whether everything that a HELLO announces has come when SYNCED does.

    The rows are counted as well as the gaps: a HELLO that is sent again in the middle, because a
    capability changed, must not hide that a row before it was lost.
    """

    def __init__(self) -> None:
        self.unbroken = False  # a HELLO came, and nothing was lost since
        self.counts_rows = True  # false for a board whose rows are malformed
        self._count: int | None = None
        self._rows = 0  # those that came, a bit for each

    def begin(self) -> None:
        """A HELLO came."""
        self.unbroken = True
        self._count = None
        self._rows = 0

    def miss(self) -> None:
        """Something was lost."""
        self.unbroken = False

    def add_row(self, index: int, count: int) -> None:
        """Row `index` of a table of `count` came."""
        if count != self._count:
            self._count = count
            self._rows = 0
        if index < count:
            self._rows |= 1 << index

    def is_complete(self) -> bool:
        """Return whether everything came, once SYNCED has."""
        return self.unbroken and (self._count == self._rows.bit_count() or not self.counts_rows)


class EventOrder:
    """Returns each event of a boot once and in order, with the number lost before it.

    They come at least once: what was lost comes again after a SUBSCRIBE for `wanted`. An event
    that is ahead of that is only let through once nothing before it can come any more.
    """

    def __init__(self) -> None:
        self.wanted: int | None = None  # None: whatever the board remembers
        self._early: dict[int, Any] = {}

    def restart(self) -> None:
        """Another boot: its events count from 0."""
        self.wanted = 0
        self._early.clear()

    def miss(self) -> None:
        """Something was lost: what came early comes again."""
        self._early.clear()

    def admit(self, number: int, event: Any, complete: bool) -> list[tuple[Any, int]]:
        """Return the events that are next in order, each with how many were missed before it.

        complete: nothing was lost since the last SYNCED, so the board forgot what is left out.
        """
        if self.wanted is not None and number < self.wanted:
            return []  # a repeat
        if number == self.wanted or complete:
            return [self._next(number, event)]
        if len(self._early) < MAX_EARLY_EVENTS:
            self._early[number] = event
        return []

    def on_synced(self) -> list[tuple[Any, int]]:
        """Return those that came early, now that the full state has come."""
        early, self._early = sorted(self._early.items()), {}
        in_order = [entry for entry in early if entry[0] >= (self.wanted or 0)]
        return [self._next(number, event) for number, event in in_order]

    def _next(self, number: int, event: Any) -> tuple[Any, int]:
        missed = 0 if self.wanted is None else number - self.wanted
        self.wanted = number + 1
        return event, missed
