# targets: unix frozen qemu cpython
"""Keys on a link: who proves one is served as its right says, and nobody else, whatever is sent."""

import json
import os
import sys
from binascii import unhexlify

import harness
from figures import figure
from frames import Chance, decode, deframed
from harness import raises
from keys_rig import hmac, in_other_forms, mac, packed
from rig import FakeTicks, board, poll_now, wait_for_share
from server_rig import FakeServer
from warden.keyed_hosts import KeyedHosts
from warden.link.brakes import Brakes
from warden.link.keys import Keys, check_keys, differ, next_boot_number
from warden.link.keys import hmac as board_hmac
from warden.setup import make_agent
from warden_schema.frame import encode

_HOST = 77
_UNIQUE_ID = bytes(range(8))
HELLO, SAMPLE, STORAGE, SYNCED, REPLY, LEASE, EVENT, ROWS = 1, 3, 4, 5, 7, 8, 11, 12
CHALLENGE, PROVED, KEY_REFUSED = 22, 23, 24
SUBSCRIBE, UNSUBSCRIBE, KEEPALIVE, REQUEST, GREETING, PROOF = 64, 65, 66, 67, 68, 69
PING, START, ALLOCATE, QUOTA, METERS = 0, 1, 4, 16, 12
OBSERVE, CONTROL = 1, 2
NEEDED, WRONG, OTHER_VERSION, NO_RIGHT, NO_NONCE = 1, 2, 3, 4, 5
KEY = bytes(range(128, 160))
CONTROL_KEY = bytes(range(160, 192))
OTHER_KEY = bytes(range(192, 224))
boots = [0]  # of all boards here
_ROUNDS = 10_000 if harness.SOAK else 100


def keyed(key=KEY, control_key=CONTROL_KEY, open_hosts=False):
    """Return a port with keys, as `TcpServer` makes one, in memory."""
    server = FakeServer(KeyedHosts)
    server.keys = Keys(key, control_key, open_hosts)
    boots[0] += 1
    if not hasattr(os, "urandom"):  # nor has the Cortex-M3 files
        server.keys.boot_number = boots[0]
    return server


class Rig:
    """A board with keys, and a host made of few lines, from docs/security.md and docs/wire.md."""

    def __init__(self, server=None, unique_id=_UNIQUE_ID, boot_id=1234):
        self.server = server or keyed()
        self.line = None
        self.lines = 0
        fake = board()
        fake.identity = ("fake", "fake", "fake", unique_id, None, "0")
        fake.boot_id = boot_id
        limits = (2, 300_000, 100, 5000)
        self.agent = make_agent(fake, 600_000, 1000, self.server, limits)
        self.agent.policy.thresholds.set("memory")
        self.connect()

    def connect(self, address=None):
        """End the connection, and begin a new one, from another address, if none is given."""
        if self.line is not None:
            self.line.drop()
        self.lines += 1
        self.line = self.server.dial(address=address or "10.0.0." + str(self.lines))
        self.poll()
        self.key = None  # of the session
        self.counter = 0
        self.next = 0
        self.sent_frames = []

    def send(self, payload):
        """Send a payload in a frame; return what the board sends: messages, and their payloads."""
        data = bytearray(payload) + bytearray(2)
        wire = bytearray(600)
        frame = bytes(wire[: encode(data, len(payload), wire)])
        self.sent_frames.append(frame)
        return self.receive(frame)

    def receive(self, data):
        self.line.inbox.extend(data)
        self.poll()
        assert self.agent.faults == 0
        payloads = deframed(self.line.outbox)[0]
        self.line.outbox = bytearray()
        self.replies = [payload for payload in payloads if payload[1] == REPLY]
        return [
            decode(payload[:-12] if self.is_signed(payload) else payload) for payload in payloads
        ]

    def poll(self):
        """Have the board do what there is to do."""
        for _ in range(60):
            poll_now(self.agent)
            if not self.server.readable() and not self.agent.clock.rows_dirty:
                break
            wait_for_share(self.agent)

    def is_signed(self, payload):
        if self.key is None or payload[1] != REPLY:
            return False
        return mac(self.key, b"b", payload[:-8]) == payload[-8:]

    def plain(self, *message):
        return self.send(packed(message))

    def greet(self, right=OBSERVE, nonce=bytes(16), version=1):
        """Send a GREETING; make the transcript of what comes back, which is returned."""
        sent = self.plain(GREETING, version, right, nonce)
        if sent and sent[0][0] == CHALLENGE:
            _, _, _, unique_id, boot_id, board_nonce = sent[0]
            head = bytes([version, right, len(unique_id)]) + unique_id
            self.transcript = head + boot_id.to_bytes(4, "big") + nonce + board_nonce
        return sent

    def prove(self, key=KEY, right=OBSERVE, nonce=bytes(16)):
        """Do the whole handshake; return what the board answers to the proof."""
        self.greet(right, nonce)
        sent = self.plain(PROOF, hmac(key, b"host" + self.transcript))
        if sent and sent[0][0] == PROVED:
            assert sent[0][2] == hmac(key, b"board" + self.transcript)
            self.key = hmac(key, b"session" + self.transcript)
        return sent

    def signed(self, *message):
        self.counter += 1
        return self.send(self.sealed(self.counter, message))

    def sealed(self, counter, message, direction=b"h"):
        text = packed(message) + counter.to_bytes(4, "big")
        return text + mac(self.key, direction, text)

    def join(self, right, host_id):
        """Prove the key of a right, if any, and subscribe; return what the board sends then."""
        if right is not None:
            assert self.prove(KEY if right == OBSERVE else CONTROL_KEY, right)[0][0] == PROVED
        return self.tell(right, SUBSCRIBE, 1, 6, host_id, None)

    def tell(self, right, *message):
        return self.plain(*message) if right is None else self.signed(*message)

    def swap(self, other=(None, None, 0)):
        """Go on with another connection; return this one."""
        this = self.line, self.key, self.counter
        self.line, self.key, self.counter = other
        return this

    def ask(self, operation, *arguments):
        sent = self.signed(REQUEST, _HOST, self.next, operation, list(arguments))
        self.next += 1
        return [message[3:] for message in sent if message[0] == REPLY]

    @property
    def host(self):
        """The board's side of the connection."""
        return next(host for host in self.agent.session.hosts if host.link is self.line)

    def leases(self):
        return [lease.owner for lease in self.agent.policy.leases.all()]


def subscribed(key=CONTROL_KEY, right=CONTROL, server=None):
    rig = Rig(server)
    assert rig.prove(key, right)[0][0] == PROVED
    assert SYNCED in kinds(rig.signed(SUBSCRIBE, 1, 6, _HOST, None))
    return rig


def kinds(sent):
    return [message[0] for message in sent]


def test_hmac_is_that_of_rfc_4231():
    # Its cases 1 and 2 with the key filled up by zeros, as HMAC itself does, to 32 bytes.
    digest = board_hmac(b"\x0b" * 20 + bytes(12), b"Hi ", b"There")
    assert digest.hex() == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    digest = board_hmac(b"Jefe" + bytes(28), b"what do ya want ", b"for nothing?")
    assert digest.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hmac(KEY, b"abc") == board_hmac(KEY, b"a", b"bc")
    assert not differ(b"xabc", 1, b"abc", 3)
    assert differ(b"xabd", 1, b"abc", 3) and differ(b"xbbc", 1, b"abc", 3)


def test_the_vectors_are_what_the_board_computes():
    try:
        path = __file__.rsplit("/", 1)[0] + "/../shared_schema/keys.json"
        with open(path) as file:
            vectors = json.load(file)
    except (NameError, OSError):
        harness.skip("this firmware has no files")
    for number, right in ((1, "observe"), (2, "control")):
        vector = {
            name: unhexlify(text) for name, text in vectors[right].items() if name != "boot_id"
        }
        assert board_hmac(vector["secret"], right.encode(), vector["unique_id"]) == vector["key"]
        rig = Rig(keyed(vector["key"], vector["key"]), vector["unique_id"], 123_456_789)
        rig.server.keys.make_nonce = lambda vector=vector: vector["board_nonce"]
        challenge = [1, vector["unique_id"], int(vectors[right]["boot_id"]), vector["board_nonce"]]
        assert rig.greet(number, vector["host_nonce"])[0][2:] == challenge
        peer = rig.host.peer
        assert bytes(peer.transcript) == vector["transcript"]
        assert rig.plain(PROOF, vector["host_proof"])[0][2] == vector["board_proof"]
        assert peer.receive_key == vector["session_key"] + b"h"
        rig.key = vector["session_key"]
        assert rig.sealed(1, (REQUEST, 77, 0, PING, [])) == vector["request"]
        message = rig.agent.session.uplink
        rig.host.seq = 9
        message.begin(REPLY, 3)
        for value in (0, 0, None):
            message.put(value)
        at = rig.host.put_head()
        assert message.payload[at : peer.seal(message.payload, at, message.at)] == vector["reply"]


def test_a_key_is_32_bytes_that_nobody_typed():
    for wrong in (
        b"",
        KEY[:31],
        KEY + b"x",
        "x" * 32,
        5,
        b"correct horse battery staple 123",
        bytes(32),
        b"\xff\x00" * 16,
    ):
        raises(ValueError, check_keys, wrong)
    raises(ValueError, Keys, b"", None, False)
    raises(ValueError, check_keys, (KEY, OTHER_KEY, CONTROL_KEY))
    assert check_keys(KEY) == (KEY,)
    assert check_keys(()) == ()


def test_who_proves_the_control_key_commands():
    rig = subscribed()
    assert rig.ask(ALLOCATE, 0, 1000, "ota") == [[0, 1]]
    assert rig.leases() == ["ota"]
    assert len(rig.replies[0]) > 12 and rig.is_signed(rig.replies[0])


def test_who_proves_the_other_key_looks():
    rig = subscribed(KEY, OBSERVE)
    assert rig.ask(PING) == [[0, None]]
    assert rig.ask(METERS, 0) == [[0, None]]
    assert rig.ask(START, 100) == [[4, ["needs_control", None, None, []]]]
    assert rig.ask(ALLOCATE, 0, 1000, "ota")[0][1][0] == "needs_control"
    rig.agent.policy.leases.allocate(0, 100, "mine", 1, None, None)
    assert LEASE in kinds(rig.signed(KEEPALIVE, _HOST, 0))


def test_a_host_without_a_key_gets_nothing():
    rig = Rig()
    assert rig.plain(SUBSCRIBE, 1, 6, _HOST, None) == [[KEY_REFUSED, 0, NEEDED]]
    for message in ((KEEPALIVE, _HOST, 0), (REQUEST, _HOST, 0, PING, [])):
        assert rig.plain(*message) == []
    assert rig.greet() == []  # one try for each connection


def test_an_open_host_sees_figures_only():
    rig = Rig(keyed(open_hosts=True))
    rig.agent.policy.leases.allocate(0, 100, "secret", 1, None, None)
    rig.agent.policy.events.post("key", None, "10.0.0.9", 1)
    sent = kinds(rig.plain(SUBSCRIBE, 1, 6, _HOST, None))
    assert HELLO in sent and SAMPLE in sent and STORAGE in sent and SYNCED in sent
    assert LEASE not in sent and EVENT not in sent
    for number, (operation, arguments, reason) in enumerate(
        (
            (PING, [], None),
            (QUOTA, [0], "needs_observe"),
            (METERS, [1000], "needs_observe"),
            (ALLOCATE, [0, 1000, "ota"], "needs_control"),
        )
    ):
        reply = rig.plain(REQUEST, _HOST, number, operation, arguments)[0]
        assert reply[0] == REPLY and (reply[4] and reply[4][0]) == reason
    assert rig.leases() == ["secret"]


def test_an_open_host_does_not_get_the_replies_to_another():
    rig = subscribed(server=keyed(open_hosts=True))
    assert rig.ask(ALLOCATE, 0, 1000, "ota") == [[0, 1]]
    rig.connect()
    assert rig.plain(SUBSCRIBE, 1, 6, _HOST, None) == []
    assert rig.plain(REQUEST, _HOST, 0, ALLOCATE, [0, 1000, "ota"]) == []


def test_who_proves_less_takes_over_nothing_whatever_ids_came_before():
    rig = subscribed(server=keyed(open_hosts=True))
    acts = rig.line
    for right in (None, OBSERVE):  # it holds nothing yet
        rig.line = None
        rig.connect("10.0.0.1")
        assert rig.join(right, _HOST) == []
        assert acts.connection
        rig.line.drop()
    rig = subscribed(server=keyed(open_hosts=True))
    assert rig.ask(ALLOCATE, 0, 1000, "ota") == [[0, 1]]
    acts = rig.swap()
    for right in (None, OBSERVE):
        for number in range(6):
            rig.connect("10.0.0.1")
            if number < 5:  # that many other hosts
                rig.join(right, _HOST + 1 + number)
                rig.line.drop()
                rig.swap(acts)
                rig.signed(KEEPALIVE, _HOST, 1)  # they take seconds
                acts = rig.swap()
        assert rig.join(right, _HOST) == []
        rig.tell(right, UNSUBSCRIBE, _HOST)
        assert acts[0].connection and rig.leases() == ["ota"]
        rig.swap()[0].drop()
    acts[0].drop()  # nor while it is away
    for right in (None, OBSERVE):
        rig.connect()
        assert rig.join(right, _HOST) == []
        rig.tell(right, UNSUBSCRIBE, _HOST)
        assert rig.leases() == ["ota"]


def test_who_proves_more_is_not_answered_what_another_was_in_its_name():
    rig = Rig(keyed(open_hosts=True))
    assert SYNCED in kinds(rig.join(None, _HOST))
    assert rig.plain(REQUEST, _HOST, 0, PING, [])[0][2:] == [0, 0, None]
    rig.connect()
    assert SYNCED in kinds(rig.join(CONTROL, _HOST))
    assert rig.ask(ALLOCATE, 0, 1000, "ota") == [[0, 1]]
    assert rig.leases() == ["ota"]


def test_the_replies_to_four_are_remembered_though_each_comes_under_several_rights():
    rig = Rig(keyed(open_hosts=True))
    for number in range(3):
        for right in (None, OBSERVE):
            rig.connect()
            assert SYNCED in kinds(rig.join(right, _HOST + number))
            assert rig.tell(right, REQUEST, _HOST + number, 0, PING, [])[0][2:] == [0, 0, None]
        rig.line = None  # it stays
    assert len(rig.agent.session.requests.hosts) == 4


def test_no_number_of_observers_has_a_controllers_repeat_done_twice():
    rig = Rig(keyed())
    assert SYNCED in kinds(rig.join(CONTROL, _HOST))
    assert rig.ask(ALLOCATE, 0, 16, "ota") == [[0, 1]]
    for number in range(1, 7):
        rig.connect()  # which breaks the one before
        assert SYNCED in kinds(rig.join(OBSERVE, _HOST + number))
        sent = rig.tell(OBSERVE, REQUEST, _HOST + number, 0, ALLOCATE, [0, 16, "no"])
        assert sent[0][4][0] == "needs_control"
    rig.connect()
    assert SYNCED in kinds(rig.join(CONTROL, _HOST))
    assert rig.ask(ALLOCATE, 0, 16, "ota") == [[0, 1]]
    assert rig.leases() == ["ota"]


def test_who_took_the_id_of_one_that_proves_more_gives_way():
    rig = Rig(keyed(open_hosts=True))
    assert SYNCED in kinds(rig.join(None, _HOST))
    stranger, rig.line = rig.line, None
    rig.connect()
    assert SYNCED in kinds(rig.join(CONTROL, _HOST))
    assert stranger.connection is None


def test_who_has_no_key_is_not_told_who_has_the_places():
    rig = Rig(keyed(open_hosts=True))
    for number in range(3):
        assert SYNCED in kinds(rig.join(OBSERVE, _HOST + number))
        rig.line = None
        rig.connect()
    assert rig.plain(SUBSCRIBE, 1, 6, 99, None) == []
    assert rig.plain(SUBSCRIBE, 1, 6, 99, None)[0][4:] == [99, [None] * 3]


def test_a_wrong_key_is_refused_and_told_once_a_minute():
    rig = Rig()
    assert rig.prove(OTHER_KEY) == [[KEY_REFUSED, 1, WRONG]]
    rig.connect()
    rig.prove(CONTROL_KEY)  # which is for another right
    for _ in range(5):
        rig.connect()
        rig.prove(OTHER_KEY)
        assert rig.plain(PROOF, hmac(KEY, b"host" + rig.transcript)) == []  # one try
    events = rig.agent.policy.events
    assert events.event(0)[-3:] == (None, "10.0.0.1", 1)
    assert events.seq == 1
    rig.agent.clock.start_ms -= 61_000
    rig.agent.clock.advance()
    rig.connect()
    rig.prove(OTHER_KEY)
    assert (events.seq, events.event(1)[-2:]) == (2, ("10.0.0.8", 7))


def test_the_former_generation_is_valid_too_and_a_proof_may_come_twice():
    rig = Rig(keyed((OTHER_KEY, KEY), None))
    assert rig.prove(KEY)[0][0] == PROVED
    assert rig.plain(PROOF, hmac(KEY, b"host" + rig.transcript))[0][0] == PROVED
    assert SYNCED in kinds(rig.signed(SUBSCRIBE, 1, 6, _HOST, None))
    assert rig.plain(PROOF, hmac(KEY, b"host" + rig.transcript)) == []  # it knows by now
    rig.connect()
    assert rig.prove(OTHER_KEY)[0][0] == PROVED
    rig.connect()  # a host that has two generations itself
    rig.greet()
    proofs = [hmac(key, b"host" + rig.transcript) for key in (CONTROL_KEY, KEY)]
    assert rig.plain(PROOF, *proofs)[0][0] == PROVED


def test_a_right_without_a_key_and_another_version_are_refused():
    rig = Rig(keyed(KEY, None))
    assert rig.greet(CONTROL) == [[KEY_REFUSED, 0, NO_RIGHT]]
    assert rig.prove(KEY)[0][0] == PROVED  # the other one may be tried
    for version in (0, 2):
        rig.connect()
        assert rig.greet(version=version)[0][2:] == [OTHER_VERSION]
    for right in (0, 3, -1, None):
        rig.connect()
        assert rig.greet(right)[0][2:] == [NO_RIGHT]
    rig = Rig(keyed((), ()))  # none is stored on the board
    assert rig.greet(OBSERVE)[0][2:] == [NO_RIGHT]


def test_frames_that_are_changed_repeated_or_reordered_command_nothing():
    rig = subscribed()
    request = (REQUEST, _HOST, 0, ALLOCATE, [0, 1000, "ota"])
    good = rig.sealed(10, request)
    other = rig.sealed(11, (REQUEST, _HOST, 1, ALLOCATE, [0, 1000, "two"]))
    for at in range(len(good)):
        changed = bytearray(good)
        changed[at] ^= 1 << at % 8
        assert REPLY not in kinds(rig.send(changed))
    for wrong in (
        packed(request),  # not signed
        good[:-1],
        good + b"x",
        rig.sealed(10, request, b"b"),  # of the other direction
        rig.sealed(0, request),
        rig.sealed(1, request),  # a counter that was
        rig.sealed(1 << 30, request),
    ):
        assert REPLY not in kinds(rig.send(wrong))
    assert rig.leases() == []
    assert REPLY in kinds(rig.send(other))
    assert REPLY not in kinds(rig.send(good))  # it comes too late
    assert REPLY not in kinds(rig.send(other))
    assert rig.leases() == ["two"]
    assert figure(rig.agent.sample, "bad_frames") > 0


def test_a_greeting_that_ends_early_is_not_answered_by_what_was_in_its_place_before():
    rig = Rig()
    whole = packed((GREETING, 1, OBSERVE, bytes(16)))
    assert kinds(rig.send(whole)) == [CHALLENGE]
    for size in range(4, len(whole)):
        assert rig.send(whole[:size]) == []


def test_a_kind_in_another_form_is_not_taken_for_one_that_needs_no_signature():
    rig = subscribed()
    for other in in_other_forms(packed((REQUEST, _HOST, 0, ALLOCATE, [0, 1000, "ota"]))):
        assert rig.send(other) == []
    assert rig.leases() == []
    for other in in_other_forms(packed((SUBSCRIBE, 1, 6, _HOST + 1, None))):
        rig.connect()
        assert rig.send(other) == []
        assert not rig.host.host_id


def test_a_request_that_comes_again_with_a_new_counter_is_done_once():
    rig = subscribed()
    for _ in range(3):
        rig.next = 0
        assert rig.ask(ALLOCATE, 0, 1000, "ota") == [[0, 1]]
    assert rig.leases() == ["ota"]


def test_a_recorded_session_commands_nothing():
    rig = subscribed()
    rig.ask(ALLOCATE, 0, 1000, "ota")
    frames = rig.sent_frames
    rig.agent.policy.leases.all()[0].release()
    boards = (
        rig,  # the same boot
        Rig(boot_id=1235),  # after a reboot
        Rig(keyed(OTHER_KEY, KEY), unique_id=b"another"),
    )
    for other in boards:
        other.connect()
        sent = []
        for frame in frames:
            sent += other.receive(frame)
        assert [message[0] for message in sent] == [CHALLENGE, KEY_REFUSED]
        assert other.leases() == []


def test_what_the_board_proves_is_no_proof_of_a_host():
    rig = Rig()
    boards_proof = rig.prove(CONTROL_KEY, CONTROL)[0][2]
    rig.connect()
    rig.greet(CONTROL)
    assert rig.plain(PROOF, boards_proof)[0][2:] == [WRONG]
    # Nor is the nonce of the board when it is sent back as the host's.
    rig.connect()
    nonce = rig.greet(CONTROL)[0][5]
    rig.connect()
    assert rig.greet(CONTROL, nonce)[0][5] != nonce


def test_a_new_connection_is_sent_nothing_until_it_has_proved_a_key():
    rig = subscribed()
    rig.connect()
    rig.agent.session.on_sample(False)
    rig.agent.session.hello_dirty = True
    assert rig.receive(b"") == []
    assert rig.prove(KEY)[0][0] == PROVED
    assert rig.signed(KEEPALIVE, _HOST, 0) == []  # it has to subscribe
    assert HELLO in kinds(rig.signed(SUBSCRIBE, 1, 6, _HOST + 1, None))


def test_mutants_of_the_handshake_and_of_a_session_command_nothing():
    chance = Chance(21)
    rig = subscribed(server=keyed(open_hosts=True))
    rig.ask(ALLOCATE, 0, 1000, "ota")
    frames = [deframed(frame)[0][0] for frame in rig.sent_frames]
    rig.agent.policy.leases.all()[0].release()
    for _ in range(_ROUNDS):
        rig.connect()
        for payload in frames:
            payload = bytearray(payload)
            for _ in range(chance.below(4)):
                at = chance.below(len(payload))
                what = chance.below(3)
                if what == 0:
                    payload[at] = chance.below(256)
                elif what == 1:
                    payload = payload[:at] + chance.bytes(chance.below(5)) + payload[at:]
                elif len(payload) > 2:
                    payload = payload[:at] + payload[at + 1 :]
            if payload and payload[0] >> 4 == 9 and len(payload) <= 128:
                rig.send(payload)
        assert rig.leases() == []
        assert all([host.peer.right < OBSERVE for host in rig.agent.session.hosts])
    rig.connect()
    assert rig.prove(KEY)[0][0] == PROVED


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


class WithoutRandom:
    """Stands in for `os` of a port without random numbers."""

    def rename(old, new):  # called by the class: no method
        os.rename(old, new)


def test_what_keeps_nonces_apart_is_noted_where_the_board_started():
    from warden.link import keys

    try:
        os.mkdir("elsewhere")
    except (AttributeError, OSError):  # nothing is mounted
        harness.skip("this firmware has no files")
    here = os.getcwd()
    rig = Rig()
    rig.agent.board.path = here.rstrip("/") + "/test_keys"
    made = rig.server.keys
    made.boot_number = None
    keys.os = WithoutRandom
    try:
        os.chdir("elsewhere")
        made.make_nonce()
        found = os.listdir()
    finally:
        keys.os = os
        os.chdir(here)
        for name in os.listdir("elsewhere"):
            os.remove("elsewhere/" + name)
        os.rmdir("elsewhere")
    assert found == []
    assert next_boot_number("test_keys.nonce") == 2
    os.remove("test_keys.nonce")


def test_where_there_are_no_random_numbers_a_nonce_never_comes_twice():
    path = "test_keys.nonce"
    for name in (path, path + ".new"):
        try:
            os.remove(name)
        except (AttributeError, OSError):
            pass
    try:
        assert next_boot_number(path) == 1
    except (AttributeError, NameError, OSError):
        return  # this firmware has no files
    assert next_boot_number(path) == 2
    write(path + ".new", "")  # the power was cut before the next one was written,
    assert next_boot_number(path) == 3
    os.rename(path, path + ".new")  # or, on FAT, after the last one was removed
    assert next_boot_number(path) == 4
    write(path, "rubbish")
    raises(ValueError, next_boot_number, path)
    os.rename(path, path + ".new")
    raises(ValueError, next_boot_number, path)
    write(path + ".new", "")  # the power was cut before the first one was written
    assert next_boot_number(path) == 1
    module = sys.modules.get("warden.link.keys") or sys.modules["warden.keys"]

    def failing(name, mode="r"):
        if mode == "r":
            raise OSError(5)
        return open(name, mode)

    module.open = failing  # what cannot be read is not the first one
    raises(OSError, next_boot_number, path)
    del module.open
    assert next_boot_number(path) == 2
    os.remove(path)
    keys = Keys(KEY, None, False)
    keys.boot_number = 7
    if hasattr(os, "urandom"):
        return
    nonces = [keys.make_nonce() for _ in range(3)]
    assert len(set(nonces)) == 3
    assert nonces[0] == hmac(KEY, b"nonce" + b"\x00\x00\x00\x07\x00\x00\x00\x01")[:16]


def test_a_board_that_can_make_no_nonce_says_so():
    rig = Rig()

    def make_nonce():
        raise OSError(30)

    rig.server.keys.make_nonce = make_nonce
    assert rig.greet() == [[KEY_REFUSED, 0, NO_NONCE]]


def test_who_proves_nothing_in_three_seconds_is_closed_and_its_address_waits():
    rig = Rig()
    rig.greet()
    rig.host.peer.began_ms -= 2500
    rig.poll()
    assert rig.line.connection
    rig.host.peer.began_ms -= 600
    rig.poll()
    assert rig.line.connection is None
    again = rig.server.dial(address="10.0.0.1")
    other = rig.server.dial(address="10.0.0.2")
    rig.poll()
    assert again.connection is None and other.connection
    rig = Rig()
    rig.agent.session.brakes.fail("10.0.0.1")
    assert rig.prove(KEY)[0][0] == PROVED  # who has proved a key may come back at once
    rig.line.drop()
    again = rig.server.dial(address="10.0.0.1")
    rig.poll()
    assert again.connection


def test_one_that_waits_to_subscribe_gives_way_to_another_address():
    rig = Rig()
    first = rig.line
    rig.host.peer.began_ms -= 400
    second = rig.server.dial(address="10.0.0.2")
    rig.poll()
    assert first.connection is None and second.connection


def test_an_address_that_has_to_wait_ends_no_slow_handshake():
    rig = Rig()
    rig.agent.session.brakes.fail("10.0.0.9")
    rig.greet()
    for _ in range(3):
        rig.host.peer.began_ms -= 400
        stranger = rig.server.dial(address="10.0.0.9")
        rig.poll()
        assert rig.line.connection and stranger.connection is None
    assert rig.plain(PROOF, hmac(KEY, b"host" + rig.transcript))[0][0] == PROVED


def test_an_address_that_proved_a_key_goes_before_strangers_at_any_number_of_others():
    rig = subscribed()
    known = rig.line.address
    rig.line.drop()
    rig.line = None
    stranger = rig.server.dial(address="10.0.1.1")
    rig.poll()
    assert stranger.connection
    rig.connect(known)
    rig.greet()
    for number in range(9):
        rig.host.peer.began_ms -= 300
        rig.server.dial(address="10.0.2." + str(number))
        rig.poll()
    assert stranger.connection is None
    assert rig.plain(PROOF, hmac(KEY, b"host" + rig.transcript))[0][0] == PROVED


def test_who_has_left_is_not_in_the_way_of_who_comes_from_there():
    rig = Rig(keyed(open_hosts=True))
    assert SYNCED in kinds(rig.join(None, _HOST))
    left = rig.line
    rig.plain(UNSUBSCRIBE, _HOST)
    assert left.connection is None
    rig.connect(left.address)
    assert SYNCED in kinds(rig.join(None, _HOST + 1))


def test_an_open_host_gives_its_place_to_one_with_a_key():
    rig = Rig(keyed(open_hosts=True))
    lines = []
    for number in range(3):
        lines.append(rig.line)
        assert SYNCED in kinds(rig.plain(SUBSCRIBE, 1, 6, _HOST + number, None))
        rig.line = None  # it stays
        rig.connect()
    assert rig.prove(KEY)[0][0] == PROVED
    assert SYNCED in kinds(rig.signed(SUBSCRIBE, 1, 6, _HOST + 3, None))
    assert [line.connection is None for line in lines] == [True, False, False]


def test_an_address_that_failed_waits_up_to_five_seconds_and_others_do_not():
    ticks = FakeTicks(1000)
    brakes = Brakes(ticks)
    for pause in (500, 1000, 2000, 4000, 5000, 5000):
        brakes.fail("a")
        assert brakes.is_paused("a") and not brakes.is_paused("b")
        ticks.pass_ms(pause - 1)
        assert brakes.is_paused("a")
        ticks.pass_ms(1)
        assert not brakes.is_paused("a")
    ticks.pass_ms(60_000)
    brakes.fail("a")
    assert brakes.find("a")[2] == 500
    for address in "bcde":
        brakes.fail(address)
    assert len(brakes.rows) == 4 and not brakes.is_paused("a")
    brakes.clear("e")
    assert not brakes.is_paused("e") and brakes.proved == ["e"]
    for address in "fghief":
        brakes.clear(address)
    assert brakes.proved == ["h", "i", "e", "f"]
    brakes.fail("i")
    assert brakes.proved == ["h", "e", "f"]
    for address in "hij":  # h proves one again: it is not the one that did longest ago
        brakes.clear(address)
    assert brakes.proved == ["f", "h", "i", "j"]
