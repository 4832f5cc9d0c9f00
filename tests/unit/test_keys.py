"""Key files, what of them goes to a board, and the host's side of the handshake."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import random
import resource
import stat
import sys
import types

import campaign
import pytest
from places import REPO

from boardwarden import KeyFileError, keys
from boardwarden._mirror import Mirror
from boardwarden._protocol import messages
from boardwarden._protocol.keys import (
    KEY_ENVIRONMENT,
    NOT_PROVED,
    OTHER_BOARD,
    Keys,
    Secret,
    board_key,
    hmac_of,
    mac_of,
)
from boardwarden._protocol.link import Deframer, Link
from boardwarden._protocol.session import Session
from boardwarden.testing import FakeBoard, FakeTransport
from warden_schema import ids

VECTORS = json.loads((REPO / "shared_schema" / "keys.json").read_text())
SECRET = Secret(ids.CONTROL, (bytes(range(200, 232)),))
UNIQUE_ID = b"board"


class Outcome:
    """Stands in for the session."""

    def __init__(self) -> None:
        self.proved = 0
        self.refused: list[int] = []

    def on_proved(self) -> None:
        self.proved += 1

    def on_key_refused(self, reason: int) -> None:
        self.refused.append(reason)


class Board:
    """A board of few lines, from docs/security.md: answers payloads with payloads."""

    def __init__(self, secret=SECRET, unique_id=UNIQUE_ID, rights=(1, 2)):
        self.secret, self.unique_id, self.rights = secret, unique_id, rights
        self.session = b""
        self.sent = 0

    def receive(self, payload: bytes) -> list[bytes]:
        kind, *fields = messages.msgpack.unpackb(payload)
        if kind == ids.GREETING:
            version, right, nonce = fields
            if right not in self.rights:
                return [messages._packed(ids.KEY_REFUSED, 0, ids.NO_RIGHT)]
            own = bytes(range(16))
            self.key = board_key(self.secret.generations[0], right, self.unique_id)
            head = bytes((version, right, len(self.unique_id))) + self.unique_id
            self.transcript = head + (7).to_bytes(4, "big") + nonce + own
            return [messages._packed(ids.CHALLENGE, 0, 1, self.unique_id, 7, own)]
        if hmac_of(self.key, b"host", self.transcript) not in fields:
            return [messages._packed(ids.KEY_REFUSED, 0, ids.WRONG)]
        self.session = hmac_of(self.key, b"session", self.transcript)
        return [messages._packed(ids.PROVED, 1, hmac_of(self.key, b"board", self.transcript))]

    def reply(self, request_id: int = 0) -> bytes:
        self.sent += 1
        text = messages._packed(ids.REPLY, 9, request_id, 0, None) + self.sent.to_bytes(4, "big")
        return text + mac_of(self.session, b"b", text)


def shake(host: Keys, board: Board, now: float = 0.0) -> None:
    """Pass payloads between both until nothing is due any more."""
    for _ in range(6):
        for payload in host.due(now):
            for answer in board.receive(payload):
                assert host.receive(answer, now) is None


def met(secret=SECRET, board=None) -> tuple[Keys, Outcome, Board]:
    outcome, board = Outcome(), board or Board()
    host = Keys(secret, outcome)
    host.on_open(0.0)
    shake(host, board)
    return host, outcome, board


@pytest.mark.parametrize("right", [ids.OBSERVE, ids.CONTROL])
def test_the_vectors_are_what_the_host_computes(right, monkeypatch):
    text = dict(VECTORS[ids.RIGHTS[right]])
    boot_id = int(text.pop("boot_id"))
    vector = {name: bytes.fromhex(value) for name, value in text.items()}
    assert board_key(vector["secret"], right, vector["unique_id"]) == vector["key"]
    outcome = Outcome()
    host = Keys(Secret(right, (vector["secret"],)), outcome)
    host.on_open(0.0)
    host._nonce = vector["host_nonce"]
    challenge = [ids.CHALLENGE, 0, 1, vector["unique_id"], boot_id, vector["board_nonce"]]
    host.receive(messages._packed(*challenge), 0.0)
    assert host.due(0.0) == [messages.proof(vector["host_proof"])]
    host.receive(messages._packed(ids.PROVED, 1, vector["board_proof"]), 0.0)
    assert outcome.proved == 1
    assert host._session_key == vector["session_key"]
    assert host.sign(messages.request(77, 0, ids.PING, ())) == vector["request"]
    assert host.receive(vector["reply"], 0.0) == vector["reply"][:-12]


def test_the_page_has_the_vectors():
    page = (REPO / "docs" / "security.md").read_text()
    for vector in VECTORS.values():
        for value in vector.values():
            assert f"`{value}`" in page
    secret = hashlib.sha256(b"boardwarden: a secret for vectors only").digest()
    assert VECTORS["control"]["secret"] == secret.hex()


def test_both_sides_prove_a_key_of_either_generation():
    former = bytes(range(100, 132))
    for secret in (SECRET, Secret(ids.CONTROL, (former, SECRET.generations[0]))):
        host, outcome, board = met(secret)
        assert (host.proved, outcome.refused) == (True, [])
        assert host._session_key == board.session
    host, outcome, _ = met(Secret(ids.CONTROL, (former,)))
    assert (host.proved, outcome.refused) == (False, [ids.WRONG])


def test_a_right_that_the_board_has_no_key_for_is_done_without():
    host, _outcome, _ = met(board=Board(rights=(1,)))
    assert host.proved
    assert host._right == ids.OBSERVE
    assert met(board=Board(rights=()))[1].refused == [ids.NO_RIGHT]


def test_who_does_not_prove_the_key_gets_and_says_nothing():
    outcome = Outcome()
    host = Keys(SECRET, outcome)
    host.on_open(0.0)
    hello = messages._packed(ids.HELLO, 0, 1, 6, 77, 1, [], [], b"")
    assert host.receive(hello, 0.0) is None
    greeting = host.due(0.0)
    assert greeting[0][1] == ids.GREETING
    assert host.due(0.1) == []
    assert host.due(0.5) == greeting
    host.receive(messages._packed(ids.CHALLENGE, 0, 1, b"x", 7, bytes(16)), 0.5)
    proof = messages.msgpack.unpackb(host.due(0.5)[0])[1]
    host.receive(messages._packed(ids.PROVED, 1, proof), 0.5)  # reflected
    assert not host.proved
    assert outcome.refused == [NOT_PROVED]
    assert host.due(9.0) == []


def test_what_has_to_be_signed_is_not_sent_until_the_key_is_proved():
    host, _, _ = met()
    request = messages.request(77, 0, ids.PING, ())
    trailers = [host.sign(request).removeprefix(request) for _ in range(3)]
    counters = [int.from_bytes(trailer[: ids.COUNTER_BYTES], "big") for trailer in trailers]
    assert counters == [1, 2, 3]
    host.on_open(1.0)
    assert host.sign(request) is None
    greeting = messages.greeting(2, bytes(16))
    assert host.sign(greeting) == greeting
    assert Keys(None, Outcome()).sign(request) == request


def test_another_board_is_not_taken_for_the_one_that_was_proved():
    host, outcome, _ = met()
    host.on_open(1.0)
    shake(host, Board(unique_id=b"other"), 1.0)
    assert not host.proved
    assert outcome.refused == [OTHER_BOARD]


def test_replies_are_believed_once_and_unchanged():
    host, _, board = met()
    reply, other = board.reply(), board.reply()
    for at in range(len(reply)):
        changed = bytearray(reply)
        changed[at] ^= 1
        if at != 1:  # else it is of another kind, which need not be signed
            assert host.receive(bytes(changed), 0.0) is None
    assert host.receive(reply[:-12], 0.0) is None
    assert host.receive(other, 0.0) == other[:-12]
    assert host.receive(other, 0.0) is None
    assert host.receive(reply, 0.0) is None
    sample = messages._packed(ids.SAMPLE, 1, [1])
    assert host.receive(sample, 0.0) == sample
    assert host.sign(messages.proof(b"x")) == messages.proof(b"x")


def test_no_other_boards_hello_is_believed():
    host, _, _ = met()
    for unique_id, is_genuine in ((UNIQUE_ID, True), (b"other", False), (b"", False)):
        identity = ["machine", "1.28", "rp2", unique_id, None, "0.1"]
        hello = messages._packed(ids.HELLO, 0, 1, 7, 77, 7, identity, [], b"")
        assert (host.receive(hello, 0.0) == hello) == is_genuine
    assert host.forged == 2
    newer = messages._packed(ids.HELLO, 0, 2, 0, 77, 7, "laid out in another way")
    assert host.receive(newer, 0.0) == newer


@pytest.mark.parametrize("head", [b"\xcc", b"\xcd\0", b"\xce\0\0\0", b"\xd0", b"\xd1\0"])
def test_a_reply_whose_kind_has_another_form_is_not_taken_for_what_need_not_be_signed(head):
    host, _, _ = met()
    reply = messages._packed(ids.REPLY, 9, 0, 0, None)
    other = reply[:1] + head + reply[1:]
    assert messages.msgpack.unpackb(other) == messages.msgpack.unpackb(reply)
    assert messages.decode(host.receive(other, 0.0) or b"") is None


async def test_what_is_printed_by_who_has_not_proved_the_key_is_not_shown():
    shown: list[str] = []
    transport = FakeTransport(FakeBoard(), "tcp://board")
    session = Session(transport, Mirror(), shown.append, SECRET)
    session.on_open()
    session.link.on_data(b"all is well\r\n")
    assert shown == []
    session.keys.proved = True
    session.link.on_data(b"boot\r\n")
    assert "".join(shown) == "boot\r\n"


async def test_what_is_signed_is_sent_in_the_order_of_its_counters():
    """Else the board takes the one that comes late for a repeat."""
    peer, counters = FakeBoard(), iter(range(100, 200))
    sent: list[bytes] = []
    peer.receive = sent.append
    transport = FakeTransport(peer)
    link = Link(transport, None, lambda payload: payload + bytes((next(counters),)))
    link.is_open = True
    await transport.open()
    soon = asyncio.get_running_loop().time() + 10
    await asyncio.gather(link.send(b"\x91a", soon), link.send(b"\x91b"), link.send(b"\x91c", soon))
    await transport.close()
    assert [Deframer().feed(data)[0][-1] for data in sent] == [100, 101, 102]


def test_mutants_of_a_boards_handshake_prove_nothing_and_raise_nothing():
    chance = random.Random(21)
    for _ in range(campaign.of(10_000, 300)):
        outcome, board = Outcome(), Board(Secret(ids.CONTROL, (bytes(range(1, 33)),)))
        host = Keys(SECRET, outcome)
        host.on_open(0.0)
        for _ in range(4):
            for payload in host.due(0.0) or [messages.greeting(2, bytes(16))]:
                for answer in board.receive(payload):
                    mutant = bytearray(answer)
                    for _ in range(chance.randrange(4)):
                        mutant[chance.randrange(len(mutant))] = chance.randrange(256)
                    assert host.receive(bytes(mutant), 0.0) is None
        assert not host.proved
        assert outcome.proved == 0


# --- files ----------------------------------------------------------------------------------------


def test_a_key_file_is_written_once_for_its_owner_and_read_again(tmp_path):
    file = tmp_path / "fleet.key"
    secret = keys.new_secret("observe")
    keys.save(file, secret)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert keys.load(file) == secret
    with pytest.raises(KeyFileError, match="there already"):
        keys.save(file, secret)
    newer = keys.renewed(secret)
    keys.save(file, newer, replace=True)
    assert keys.load(file).generations == (newer.generations[0], secret.generations[0])
    assert keys.without_former(newer).generations == newer.generations[:1]
    assert os.listdir(tmp_path) == ["fleet.key"]
    assert secret.generations[0].hex() not in repr(secret)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "boardwarden key 1 control\n",
        "boardwarden key 1 all\n" + "c3" * 32,
        "boardwarden key 1 control\n" + "c3" * 31,
        "boardwarden key 1 control\ncorrect horse",
        "boardwarden key 1 control\n" + b"correct horse battery staple 123".hex(),
        "boardwarden key 1 control\n" + "00" * 32,
        "boardwarden key 1 control\n" + ("c3" * 32 + "\n") * 3,
        "\xff",
    ],
)
def test_what_is_no_key_is_refused_in_a_sentence(tmp_path, text):
    file = tmp_path / "fleet.key"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(KeyFileError, match="is no key file"):
        keys.load(file)


def test_a_file_that_others_may_read_and_a_key_instead_of_a_file_are_refused(tmp_path, monkeypatch):
    file = tmp_path / "fleet.key"
    keys.save(file, keys.new_secret("control"))
    file.chmod(0o640)
    with pytest.raises(KeyFileError, match="Others may read"):
        keys.load(file)
    monkeypatch.setenv(KEY_ENVIRONMENT, "c3" * 32)
    with pytest.raises(KeyFileError, match="take the name of a file") as error:
        keys.from_environment()
    assert "c3c3" not in str(error.value)
    with pytest.raises(KeyFileError, match="cannot be read"):
        keys.load(tmp_path / "none")
    with pytest.raises(KeyFileError, match=r"boardwarden\[keyring\]"):
        keys.load("keyring:fleet")


def test_a_link_to_a_key_file_stays_one(tmp_path):
    file, link = tmp_path / "fleet.key", tmp_path / "link.key"
    keys.save(file, SECRET)
    link.symlink_to("fleet.key")
    keys.save(link, keys.renewed(SECRET), replace=True)
    assert keys.load(file) == keys.load(link) != SECRET
    assert sorted(tmp_path.iterdir()) == [file, link]


def test_a_key_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    file = tmp_path / "fleet.key"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(KeyFileError, match="cannot be written: file too large"):
            keys.save(file, SECRET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    keys.save(file, SECRET)
    with pytest.raises(KeyFileError, match="there already"):
        keys.save(file, SECRET)
    assert keys.load(file) == SECRET


def test_a_key_file_that_cannot_be_opened_stays_as_it_is(tmp_path):
    file = tmp_path / "fleet.key"
    keys.save(file, SECRET)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(KeyFileError, match="cannot be written: too many open files"):
            keys.save(file, SECRET)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert keys.load(file) == SECRET


class Keyring(dict):
    """Stands in for the module; broken: as where there is no desktop. Else it may keep nothing."""

    broken, keeps = False, True

    def get_password(self, service, entry):
        if self.broken:
            raise RuntimeError("No recommended backend was available. Install one; or not.")
        return self.get((service, entry))

    def set_password(self, service, entry, text):
        if self.keeps:
            self[service, entry] = text


def test_a_secret_is_in_the_keyring_or_the_error_says_why_not(monkeypatch):
    ring = Keyring()
    monkeypatch.setitem(sys.modules, "keyring", ring)
    with pytest.raises(KeyFileError, match="no entry 'fleet'"):
        keys.load("keyring:fleet")
    keys.save("keyring:fleet", SECRET)
    assert keys.load("keyring:fleet") == SECRET
    with pytest.raises(KeyFileError, match="there already"):
        keys.save("keyring:fleet", SECRET)
    with pytest.raises(KeyFileError, match="name of an entry"):
        keys.save("keyring:", SECRET)
    ring.keeps = False
    with pytest.raises(KeyFileError, match="does not keep"):
        keys.save("keyring:other", SECRET)
    ring.broken = True
    for use in (keys.load, lambda name: keys.save(name, SECRET)):
        with pytest.raises(KeyFileError, match="cannot be used: No recommended backend was avail"):
            use("keyring:fleet")


@pytest.mark.parametrize(
    "form",
    ["{}", "0x{}", "{}\n", "boardwarden key 1 control\n{}\n", "keyring:{}", "{:.63}", "./{}"],
)
def test_a_key_where_its_files_name_belongs_is_not_repeated(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    ring = types.SimpleNamespace(get_password=lambda service, entry: None)
    monkeypatch.setitem(sys.modules, "keyring", ring)
    digits = SECRET.generations[0].hex()
    with pytest.raises(KeyFileError, match="not a key") as refusal:
        keys.load(form.format(digits))
    assert digits[:32] not in str(refusal.value)
    file = tmp_path / form.format("ab" * 16)  # names of files may look like that
    if "\n" not in form and ":" not in form:
        keys.save(file, SECRET)
        assert keys.load(file) == SECRET


def test_a_board_gets_what_is_derived_for_it_and_keeps_other_rights():
    secret = Secret(ids.OBSERVE, SECRET.generations)
    before = b"control " + b"aa" * 32 + b"\nobserve " + b"bb" * 32 + b"\n"
    lines = keys.board_file(secret, UNIQUE_ID, before).decode().splitlines()
    expected = hmac.new(SECRET.generations[0], b"observe" + UNIQUE_ID, "sha256").hexdigest()
    assert lines == ["observe " + expected, "control " + "aa" * 32]
    assert SECRET.generations[0].hex() not in "".join(lines)
