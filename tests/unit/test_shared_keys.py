"""The host's side of the handshake on a stream that all hosts read, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from boardwarden._protocol import messages
from boardwarden._protocol.keys import NOT_PROVED, Secret, board_key, hmac_of, mac_of
from boardwarden._protocol.shared_stream import SharedKeys, SharedSubscription
from warden_schema import ids

SECRET = Secret(ids.CONTROL, (bytes(range(200, 232)), bytes(range(100, 132))))


class Host:
    """A host's keys, and what they say to its session."""

    def __init__(self, secret: Secret | None = SECRET) -> None:
        self.proved = 0
        self.refused: list[int] = []
        nobody: Any = None
        self.subscription = SharedSubscription(nobody, nobody)
        self.keys = SharedKeys(secret, self, self.subscription)
        self.keys.on_open(0.0)

    def on_proved(self) -> None:
        self.proved += 1

    def on_key_refused(self, reason: int) -> None:
        self.refused.append(reason)

    def receive(self, *message: Any, trailer: bytes = b"", now: float = 0.0) -> bytes | None:
        return self.keys.receive(messages._packed(*message) + trailer, now)


class Board:
    """A board of few lines, from docs/security.md and docs/wire.md: answers payloads."""

    def __init__(self, rights: tuple[int, ...] = (1, 2), generation: int = 0) -> None:
        self.rights, self.generation = rights, generation

    def answer(self, payload: bytes) -> tuple[Any, ...]:
        kind, *fields = messages.msgpack.unpackb(payload)
        if kind == ids.GREETING:
            version, right, nonce, host_id = fields
            assert host_id % 2 == right - 1
            if right not in self.rights:
                return ids.KEY_REFUSED, 0, ids.NO_RIGHT, host_id
            self.key = board_key(SECRET.generations[self.generation], right, b"b")
            self.transcript = bytes((version, right, 1)) + b"b\0\0\0\7" + nonce + bytes(range(16))
            return ids.CHALLENGE, 0, 1, b"b", 7, bytes(range(16)), host_id
        *proofs, host_id = fields
        assert len(proofs) == 2
        assert hmac_of(self.key, b"host", self.transcript) in proofs
        self.session = hmac_of(self.key, b"session", self.transcript)
        return ids.PROVED, 1, hmac_of(self.key, b"board", self.transcript), host_id

    def reply(self, host_id: int, counter: int = 1) -> tuple[tuple[Any, ...], bytes]:
        """Return a signed reply: the message, and what is behind it."""
        message = (ids.REPLY, 9, 0, 0, None, host_id)
        count = counter.to_bytes(4, "big")
        return message, count + mac_of(self.session, b"b", messages._packed(*message) + count)


def test_a_challenge_of_a_board_with_an_endless_id_is_none() -> None:
    host = Host()
    nonce = bytes(ids.NONCE_BYTES)
    for length in (256, 60_000):
        host.receive(ids.CHALLENGE, 0, 1, bytes(length), 7, nonce, host.subscription.host_id)
    assert host.keys.due(1.0)[0][1] == ids.GREETING  # it goes on to ask
    assert host.refused == []


def shake(host: Host, board: Board) -> None:
    for _ in range(6):
        for payload in host.keys.due(0.0):
            assert host.receive(*board.answer(payload)) is None


@pytest.mark.parametrize("generation", [0, 1])
def test_who_is_proved_signs_and_believes_what_is_signed_for_it(generation: int) -> None:
    host, board = Host(), Board(generation=generation)
    shake(host, board)
    assert host.keys.proved
    assert host.proved == 1
    own = host.subscription.host_id
    message, trailer = board.reply(own)
    assert host.receive(*message, trailer=trailer) == messages._packed(*message)
    assert host.receive(*message, trailer=trailer) is None  # a repeat
    assert host.receive(*message) is None  # not signed
    assert host.receive(*message, trailer=bytes(12)) is None
    assert host.keys.forged == 3
    reply = messages._packed(*message)
    other = reply[:1] + b"\xcc" + reply[1:]  # in another form
    assert messages.decode(host.keys.receive(other, 0.0) or b"") is None


def test_a_board_without_a_key_to_control_is_asked_for_the_other_under_another_id() -> None:
    host = Host()
    shake(host, Board(rights=(ids.OBSERVE,)))
    assert host.keys.proved
    assert host.subscription.host_id % 2 == 0


@pytest.mark.parametrize("secret", [SECRET, None])
def test_what_is_for_others_counts_in_the_stream_and_does_nothing(secret: Secret | None) -> None:
    host, board = Host(secret), Board()
    if secret:
        assert host.receive(ids.SAMPLE, 5, [1]) is None  # nothing is shown before the proof
        shake(host, board)
    else:
        board.session = b"x"
    other = host.subscription.host_id + 2
    for message in (
        (ids.CHALLENGE, 0, 1, b"b", 7, bytes(16), other),
        (ids.PROVED, 0, bytes(32), other),
        (ids.KEY_REFUSED, 0, ids.NEEDED, other),
        (ids.KEY_REFUSED, 0, ids.NEEDED),
        (ids.SAMPLE, 5, [1]),
    ):
        assert host.receive(*message) == messages._packed(*message)
    message, trailer = board.reply(other)
    assert host.receive(*message, trailer=trailer) == messages._packed(*message)
    assert host.refused == []
    assert host.keys.forged == 0


class Nobody:
    """Stands in for a session and a mirror that let everything pass."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


def test_what_was_passed_over_until_the_proof_is_not_counted_as_lost() -> None:
    nobody: Any = Nobody()
    subscription = SharedSubscription(nobody, nobody)

    def receive(kind: int, seq: int, *fields: Any) -> int:
        subscription.receive(messages._packed(kind, seq, *fields), 0.0)
        return subscription.gaps

    receive(ids.HELLO, 65_530, ids.PROTOCOL_MAJOR, 0, 7, 1, [], [], b"")
    assert receive(ids.SAMPLE, 65_531, [1]) == 0
    subscription.leave()
    assert receive(ids.SAMPLE, 3, [2]) == 0
    assert receive(ids.SAMPLE, 4, [3]) == 0
    assert receive(ids.SAMPLE, 6, [4]) == 1
    assert subscription.frames == 5


def test_what_is_lost_right_after_the_first_hello_is_counted_though_a_proof_came_before_it() -> (
    None
):
    nobody: Any = Nobody()
    subscription = SharedSubscription(nobody, nobody)
    subscription.leave()
    hello = (ids.HELLO, 1, ids.PROTOCOL_MAJOR, 0, 7, 1, [], [], b"")
    for message in (hello, (ids.SAMPLE, 3, [2])):
        subscription.receive(messages._packed(*message), 0.0)
    assert subscription.gaps == 1


def test_before_the_proof_what_is_for_others_is_no_answer() -> None:
    host = Host()
    other = host.subscription.host_id + 2
    host.receive(ids.CHALLENGE, 0, 1, b"b", 7, bytes(16), other)
    assert host.keys.due(0.0)[0][1] == ids.GREETING
    host.receive(ids.KEY_REFUSED, 0, ids.WRONG, other)
    assert host.refused == []


def test_once_it_is_proved_only_that_the_board_needs_a_key_counts() -> None:
    host = Host()
    shake(host, Board())
    own = host.subscription.host_id
    for reason in (ids.WRONG, ids.NO_RIGHT, ids.OTHER_VERSION):
        host.receive(ids.KEY_REFUSED, 0, reason, own)
    assert host.refused == []
    host.receive(ids.KEY_REFUSED, 0, ids.NEEDED, own)
    assert host.refused == [ids.NEEDED]


def test_a_board_that_forgot_the_handshake_meanwhile_is_asked_again() -> None:
    host, board = Host(), Board()
    wrong = ids.KEY_REFUSED, 0, ids.WRONG, host.subscription.host_id
    for _ in range(2):
        (greeting,) = host.keys.due(0.0)
        host.receive(*board.answer(greeting))
        assert host.keys.due(0.0)[0][1] == ids.PROOF
        host.receive(*wrong)  # for one that began anew
        shake(host, board)
        assert (host.keys.proved, host.refused) == (True, [])
        host.keys.on_open(0.0)


def test_a_key_that_is_wrong_twice_and_a_board_that_has_not_ours_end_it() -> None:
    host = Host()
    for refused in ([], [ids.WRONG]):
        assert host.keys.due(0.0)[0][1] == ids.GREETING
        host.receive(ids.CHALLENGE, 0, 1, b"b", 7, bytes(16), host.subscription.host_id)
        assert host.keys.due(0.0)[0][1] == ids.PROOF
        host.receive(ids.KEY_REFUSED, 0, ids.WRONG, host.subscription.host_id)
        assert host.refused == refused
    host = Host()
    own = host.subscription.host_id
    host.receive(ids.CHALLENGE, 0, 1, b"b", 7, bytes(16), own)
    host.receive(ids.PROVED, 1, bytes(32), own)
    assert host.refused == [NOT_PROVED]


def test_a_challenge_that_was_under_way_answers_the_next_greeting_too() -> None:
    host, board = Host(), Board()
    (greeting,) = host.keys.due(0.0)
    host.keys.on_open(0.1)  # the board's state came only now
    assert host.keys.due(0.1) == [greeting]
    host.receive(*board.answer(greeting), now=0.1)
    (proof,) = host.keys.due(0.1)
    assert proof[1] == ids.PROOF
    host.keys.on_open(0.2)
    assert host.keys.due(0.2)[0] != greeting  # a proof was made of that


def test_a_greeting_that_nothing_answers_comes_after_1_2_4_and_8_seconds() -> None:
    host = Host()
    times = []
    now = 0.0
    while now < 29.0:
        if host.keys.due(now):
            times.append(now)
        now += 0.5
    assert times == [0.0, 1.0, 3.0, 7.0, 15.0, 23.0]
