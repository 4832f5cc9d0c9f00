# targets: unix frozen qemu
"""Keys over a stream that all hosts read: who proves one commands, and nobody else in his name."""

import os

import harness
import warden.requests
from frames import Chance, decode
from harness import no_heap
from keys_rig import hmac, in_other_forms, mac, packed
from mqtt_rig import FakeLink, Rig
from rig import board, poll_all, poll_for_sample, poll_now, skip_seconds
from warden.keyed_mqtt import KeyedMqttSession
from warden.link.keys import Keys
from warden.setup import make_agent
from warden_schema.frame import encode

HELLO, SAMPLE, SYNCED, REPLY, LEASE, EVENT = 1, 3, 5, 7, 8, 11
CHALLENGE, PROVED, KEY_REFUSED = 22, 23, 24
SUBSCRIBE, UNSUBSCRIBE, KEEPALIVE, REQUEST, GREETING, PROOF = 64, 65, 66, 67, 68, 69
PING, STOP, ALLOCATE, RELEASE = 0, 2, 4, 5
OBSERVE, CONTROL = 1, 2
FAILED = 3  # a reply's code
NEEDED, WRONG, OTHER_VERSION, NO_RIGHT = 1, 2, 3, 4
KEY = bytes(range(128, 160))
CONTROL_KEY = bytes(range(160, 192))
OTHER_KEY = bytes(range(192, 224))
_KEY_OF = {OBSERVE: KEY, CONTROL: CONTROL_KEY}
_ROUNDS = 10_000 if harness.SOAK else 50
boots = [0]


class KeyedLink(FakeLink):
    """A link as `MqttLink` makes one with keys; what it sends is read without its signature."""

    session = KeyedMqttSession
    right = None  # each host has its own

    def __init__(self, key=KEY, control_key=CONTROL_KEY):
        super().__init__()
        self.keys = Keys(key, control_key, False)
        self.payloads = []
        boots[0] += 1
        if not hasattr(os, "urandom"):  # nor has the Cortex-M3 files
            self.keys.boot_number = boots[0]

    def decode(self, payload):
        self.payloads.append(payload)
        if payload[1] == REPLY:
            try:
                return decode(payload)
            except ValueError:
                payload = payload[:-12]
        return decode(payload)


def make_board(*keys):
    return Rig(link=KeyedLink(*keys))


class Host:
    """A host of few lines, made of docs/security.md and docs/wire.md."""

    def __init__(self, rig, host_id, right=None):
        self.rig = rig
        self.host_id = host_id
        self.right = right or (CONTROL if host_id & 1 else OBSERVE)
        self.frames = []
        self.counter = self.next = 0

    def send(self, payload):
        """Publish a payload in a frame; return what the board sends then."""
        self.publish(frame_of(payload))
        return self.rig.drain()

    def publish(self, frame):
        self.frames.append(frame)
        self.rig.link.receive_bytes(frame)

    def plain(self, *message):
        return self.send(packed(message))

    def greet(self, nonce=bytes(16), version=1):
        sent = self.plain(GREETING, version, self.right, nonce, self.host_id)
        for message in sent:
            if message[0] == CHALLENGE and message[6] == self.host_id:
                _, _, _, unique_id, boot_id, board_nonce, _ = message
                head = bytes([version, self.right, len(unique_id)]) + unique_id
                self.transcript = head + boot_id.to_bytes(4, "big") + nonce + board_nonce
        return sent

    def prove(self, key=None, nonce=bytes(16)):
        self.greet(nonce)
        return self.give_proof(key or _KEY_OF[self.right])

    def give_proof(self, key):
        proof = hmac(key, b"host" + self.transcript)
        sent = self.plain(PROOF, proof, proof, self.host_id)
        if [PROVED, hmac(key, b"board" + self.transcript), self.host_id] in without_seq(sent):
            self.key = hmac(key, b"session" + self.transcript)
            self.counter = 0
        return without_seq(sent)

    def sealed(self, counter, message, direction=b"h"):
        text = packed(message) + counter.to_bytes(4, "big")
        return text + mac(self.key, direction, text)

    def signed(self, *message):
        self.counter += 1
        return self.send(self.sealed(self.counter, message))

    def join(self, key=None):
        assert self.prove(key)[-1][0] == PROVED
        self.signed(SUBSCRIBE, 1, 7, self.host_id)
        return self

    def ask(self, operation, *arguments):
        """Send a request; return the replies that are signed for this host."""
        self.rig.link.payloads = []
        self.signed(REQUEST, self.host_id, self.next, operation, list(arguments))
        self.next += 1
        return self.replies()

    def replies(self):
        found = []
        for payload in self.rig.link.payloads:
            if payload[1] == REPLY and mac(self.key, b"b", payload[:-8]) == payload[-8:]:
                message = decode(payload[:-12])
                assert message[5] == self.host_id
                found.append(message[3:5])
        return found


def frame_of(payload):
    data = bytearray(payload) + bytearray(2)
    wire = bytearray(600)
    return bytes(wire[: encode(data, len(payload), wire)])


def without_seq(messages):
    return [message[:1] + message[2:] for message in messages]


def kinds(messages):
    return [message[0] for message in messages]


def owners(rig):
    return sorted([lease.owner for lease in rig.policy.leases.all()])


def test_who_proves_the_control_key_commands_and_his_replies_are_signed():
    rig = make_board()
    host = Host(rig, 101).join()
    assert host.ask(ALLOCATE, 0, 1000, "ota") == [[0, 1]]
    assert owners(rig) == ["ota"]
    assert host.ask(STOP) == [[0, None]]


def test_a_request_whose_code_finds_no_memory_has_a_signed_answer():
    host = Host(make_board(), 101).join()
    made, warden.requests.Requests = warden.requests.Requests, None
    try:
        assert host.ask(PING) == [[FAILED, None]]
    finally:
        warden.requests.Requests = made
    assert host.ask(PING) == [[0, None]]


def test_who_proves_the_other_key_only_looks():
    rig = make_board()
    host = Host(rig, 100).join()
    assert host.ask(PING) == [[0, None]]
    assert host.ask(ALLOCATE, 0, 1000, "ota")[0][1][0] == "needs_control"
    assert host.ask(STOP)[0][1][0] == "needs_control"
    assert owners(rig) == []


def test_who_has_no_key_reads_all_and_requests_nothing():
    rig = make_board()
    rig.seconds(2)
    rig.policy.leases.allocate(0, 100, "app", 1, None, None)
    host = Host(rig, 101)
    assert HELLO in kinds(host.plain(SUBSCRIBE, 1, 7, 101) + rig.seconds(1))
    sent = rig.seconds(30)
    assert LEASE in kinds(sent) and SYNCED in kinds(sent) and SAMPLE in kinds(sent)
    for message in ((REQUEST, 101, 0, PING, []), (REQUEST, 101, 0, STOP, []), (KEEPALIVE, 101, 0)):
        assert without_seq(host.plain(*message)) == [[KEY_REFUSED, NEEDED, 101]]
    assert rig.agent.governor.interval_ms


def test_a_wrong_key_is_refused_and_told_and_the_right_one_may_follow():
    rig = make_board()
    host = Host(rig, 101)
    assert [KEY_REFUSED, WRONG, 101] in host.prove(OTHER_KEY)
    assert host.give_proof(CONTROL_KEY) == [[KEY_REFUSED, NEEDED, 101]]  # one for a challenge
    assert [KEY_REFUSED, WRONG, 101] in host.prove(KEY)  # which is for another right
    events = rig.policy.events
    told = [events.event(n) for n in range(events.seq) if events.event(n)[1] == "key"]
    assert [event[-3:] for event in told] == [(None, None, 1)], told
    host.join()
    assert host.ask(PING) == [[0, None]]
    assert rig.agent.session.greeted == []


def test_a_right_without_a_key_and_another_version_are_refused():
    rig = make_board(KEY, ())
    host = Host(rig, 101)
    assert [KEY_REFUSED, NO_RIGHT, 101] in without_seq(host.greet())
    assert [KEY_REFUSED, OTHER_VERSION, 100] in without_seq(Host(rig, 100).greet(version=2))
    host.host_id = 100
    host.right = OBSERVE
    host.join()


def test_both_generations_of_a_key_are_valid_and_a_proof_may_come_twice():
    rig = make_board((OTHER_KEY, KEY), None)
    old = Host(rig, 100).join()
    new = Host(rig, 102)
    new.greet()
    proofs = [hmac(key, b"host" + new.transcript) for key in (CONTROL_KEY, OTHER_KEY)]
    for _ in range(2):
        sent = without_seq(new.plain(PROOF, *proofs, 102))
        assert [PROVED, hmac(OTHER_KEY, b"board" + new.transcript), 102] in sent
    assert old.ask(PING) == [[0, None]]


def test_four_hosts_are_served_at_once_each_with_its_own_session():
    rig = make_board()
    hosts = [Host(rig, 100 + number).join() for number in range(4)]
    for host in hosts:
        assert host.ask(PING) == [[0, None]]
    assert hosts[1].ask(ALLOCATE, 0, 32, "of 101", None, 300_000)[0][0] == 0
    assert hosts[3].ask(ALLOCATE, 0, 32, "of 103", None, 300_000)[0][0] == 0
    for _ in range(5):
        hosts[1].signed(KEEPALIVE, 101, 0)
        Host(rig, 103).plain(KEEPALIVE, 103, 0)  # not signed: by whom, nobody knows
        Host(rig, 103).plain(SUBSCRIBE, 1, 7, 103)
        rig.seconds(3)
    assert owners(rig) == ["of 101"]
    hosts[3].signed(UNSUBSCRIBE, 103)
    assert owners(rig) == ["of 101"]
    hosts[1].signed(UNSUBSCRIBE, 101)
    assert owners(rig) == []


def test_a_fifth_takes_the_place_of_the_one_that_was_silent_for_longest():
    rig = make_board()
    hosts = [Host(rig, 100 + number).join() for number in range(4)]
    hosts[0].ask(PING)
    fifth = Host(rig, 105).join()
    assert fifth.ask(PING) == hosts[0].ask(PING) == [[0, None]]
    sent = without_seq(hosts[1].signed(REQUEST, 101, 0, PING, []))
    assert sent == [[KEY_REFUSED, NEEDED, 101]]
    hosts[1].join()
    assert hosts[1].ask(PING) == [[0, None]]
    assert len(rig.agent.session.proved) == 4


def test_who_proves_less_takes_the_places_of_his_like():
    rig = make_board()
    acts = [Host(rig, host_id).join() for host_id in (101, 103, 105)]
    looks = Host(rig, 100).join()
    for number in range(1, 6):
        Host(rig, 100 + 2 * number).join()
    for host in acts:
        assert host.ask(PING) == [[0, None]]
    assert without_seq(looks.signed(REQUEST, 100, 0, PING, [])) == [[KEY_REFUSED, NEEDED, 100]]
    Host(rig, 107).join()  # nobody proves less any more
    assert len(rig.agent.session.proved) == 4
    Host(rig, 100).join()
    assert [peer.host_id for peer in rig.agent.session.proved] == [103, 105, 107, 100]


def test_what_is_refused_takes_no_place_of_the_replies_that_repeats_ask_for():
    rig = make_board()
    acts = Host(rig, 101).join()
    for number in range(9):
        looks = Host(rig, 102 + 2 * number).join()
        assert looks.ask(ALLOCATE, 0, 16, "no")[0][1][0] == "needs_control"
    assert acts.ask(ALLOCATE, 0, 16, "ota") == [[0, 1]]


def test_no_number_of_observers_has_a_controllers_repeat_done_twice_or_refused():
    for pause_s in (0, 8):  # of its messages: somebody keeps them for so long
        rig = make_board()
        acts = Host(rig, 101).join()
        assert acts.ask(ALLOCATE, 0, 16, "ota") == [[0, 1]]
        for number in range(9):
            looks = Host(rig, 102 + 2 * number).join()
            assert looks.ask(ALLOCATE, 0, 16, "no")[0][1][0] == "needs_control"
        rig.seconds(pause_s)
        for number in range(9):
            assert Host(rig, 202 + 2 * number).join().ask(PING) == [[0, None]]
        acts.next = 0
        assert acts.ask(ALLOCATE, 0, 16, "ota") == [[0, 1]]
        assert owners(rig) == ["ota"]


def test_who_proved_a_key_waits_for_a_whole_before_a_flood_of_strangers():
    rig = make_board()
    host = Host(rig, 101)
    assert host.prove()[-1][0] == PROVED
    rig.seconds(2)
    for number in range(6):
        Host(rig, 1001 + number).plain(SUBSCRIBE, 1, 7, 1001 + number)
    found = host.signed(SUBSCRIBE, 1, 7, 101)
    for second in range(5):
        for number in range(6):
            number += 2001 + 10 * second
            found += Host(rig, number).plain(SUBSCRIBE, 1, 7, number)
        found += rig.seconds(1)
    answered = [message[4] for message in found if message[0] == HELLO]
    assert 101 in answered, answered
    assert len(rig.agent.session.waiting) <= 4


def test_a_stranger_keeps_nothing_alive_that_a_host_held_which_has_lost_its_place():
    rig = make_board()
    gone = Host(rig, 101).join()
    assert gone.ask(ALLOCATE, 0, 32, "ota", None, 300_000)[0][0] == 0
    for host_id in (103, 105, 107, 109):
        Host(rig, host_id).join()
    for _ in range(5):
        gone.plain(SUBSCRIBE, 1, 7, 101)
        rig.seconds(3)
    assert owners(rig) == []


def test_no_host_acts_in_the_name_of_another():
    rig = make_board()
    acts = Host(rig, 101).join()
    looks = Host(rig, 100).join()
    assert acts.ask(ALLOCATE, 0, 1000, "ota", None, 300_000) == [[0, 1]]
    for message in (
        (REQUEST, 101, 1, RELEASE, [1]),
        (UNSUBSCRIBE, 101),
        (KEEPALIVE, 101, 0),
        (SUBSCRIBE, 1, 7, 101),
    ):
        looks.signed(*message)
        looks.plain(*message)
    assert owners(rig) == ["ota"]
    # Nor does the key of observers prove the name of one who controls, or the other way round.
    for host_id, right in ((101, OBSERVE), (103, OBSERVE), (102, CONTROL)):
        host = Host(rig, host_id, right)
        assert PROVED not in kinds(host.prove())
    assert acts.ask(RELEASE, 1) == [[0, None]]


def test_a_stranger_with_a_hosts_id_does_not_end_its_session():
    rig = make_board()
    host = Host(rig, 101).join()
    stranger = Host(rig, 101)
    assert CHALLENGE in kinds(stranger.greet())
    assert host.ask(PING) == [[0, None]]
    assert [KEY_REFUSED, WRONG, 101] in stranger.give_proof(OTHER_KEY)
    stranger.plain(PROOF, bytes(32), bytes(32), 101)
    for number in range(10):
        Host(rig, 1001 + number).greet()
    assert host.ask(PING) == [[0, None]]
    assert len(rig.agent.session.greeted) == 2


def test_a_subscribe_in_another_form_names_no_host_that_has_proved_a_key():
    rig = make_board()
    Host(rig, 101).join()
    rig.seconds(2)
    stranger = Host(rig, 7)
    for major in (b"\xcc\x01", b"\xcd\x00\x01", b"\xd0\x01"):  # what stands at 101's place is 7
        stranger.publish(frame_of(b"\x94\x40" + major + b"\x07\x65"))
        for _ in range(3):
            poll_now(rig.agent)
        assert 101 not in rig.agent.session.waiting
    looks = Host(rig, 100).join()
    looks.signed(SUBSCRIBE, 1, 7, 101)
    assert 101 not in rig.agent.session.waiting


def test_frames_that_are_changed_repeated_or_reordered_command_nothing():
    rig = make_board()
    host = Host(rig, 101).join()
    request = (REQUEST, 101, 0, ALLOCATE, [0, 1000, "ota"])
    good = host.sealed(10, request)
    other = host.sealed(11, (REQUEST, 101, 1, ALLOCATE, [0, 1000, "two"]))
    for at in range(len(good)):
        changed = bytearray(good)
        changed[at] ^= 1 << at % 8
        assert REPLY not in kinds(host.send(changed))
    wrongs = [
        packed(request),
        good[:-1],
        good + b"x",
        host.sealed(10, request, b"b"),
        host.sealed(1, request),
        host.sealed(1 << 30, request),
    ]
    for wrong in wrongs + in_other_forms(good) + in_other_forms(packed(request)):
        assert REPLY not in kinds(host.send(wrong))
    assert owners(rig) == []
    assert REPLY in kinds(host.send(other))
    assert REPLY not in kinds(host.send(good))
    assert REPLY not in kinds(host.send(other))
    assert owners(rig) == ["two"]
    host.next = 1
    host.counter = 20
    assert host.ask(ALLOCATE, 0, 1000, "two") == [[0, 1]]  # as a retry: done once
    assert owners(rig) == ["two"]


def test_a_recorded_session_commands_nothing():
    rig = make_board()
    host = Host(rig, 101).join()
    host.ask(ALLOCATE, 0, 1000, "ota")
    rig.policy.leases.all()[0].release()
    after_restart = make_board()
    after_restart.board.boot_id = 4711
    for other in (rig, after_restart, make_board(KEY, OTHER_KEY)):
        sent = []
        for frame in host.frames:
            other.link.receive_bytes(frame)
            sent += other.drain()
        assert REPLY not in kinds(sent) and PROVED not in kinds(sent)
        assert [KEY_REFUSED, WRONG, 101] in without_seq(sent)
        assert owners(other) == []
    assert host.ask(PING) == [[0, None]]  # its session is as it was


def test_replies_are_of_the_host_that_reads_them_after_it_proves_its_key_again():
    rig = make_board()
    host = Host(rig, 101).join()
    assert host.ask(ALLOCATE, 0, 1000, "ota") == [[0, 1]]
    host.join()  # it was at another broker meanwhile, say
    host.next = 0
    assert host.ask(ALLOCATE, 0, 1000, "ota") == [[0, 1]]
    assert owners(rig) == ["ota"]


def test_mutants_of_the_handshake_and_of_a_session_command_nothing():
    chance = Chance(22)
    rig = make_board()
    host = Host(rig, 101).join()
    host.ask(ALLOCATE, 0, 1000, "ota")
    rig.policy.leases.all()[0].release()
    payloads = [frame[1:-3] for frame in host.frames]  # as good as any
    sessions = list(rig.agent.session.proved)
    for _ in range(_ROUNDS):
        rig.link.payloads = []
        for payload in payloads:
            payload = bytearray(payload)
            for _ in range(1 + chance.below(3)):
                at = chance.below(len(payload))
                what = chance.below(3)
                if what == 0:
                    payload[at] = chance.below(256)
                elif what == 1:
                    payload = payload[:at] + chance.bytes(chance.below(5)) + payload[at:]
                elif len(payload) > 2:
                    payload = payload[:at] + payload[at + 1 :]
            if payload and payload[0] >> 4 == 9 and len(payload) <= 128:
                rig.link.receive_bytes(frame_of(payload))
                assert REPLY not in kinds(rig.drain())
        assert owners(rig) == []
    assert rig.agent.session.proved == sessions
    host.counter += 1
    host.next = 1
    assert host.ask(PING) == [[0, None]]


class PlainRig:
    """An agent with such a link and all that a board has, for what counts memory."""

    def __init__(self):
        self.link = KeyedLink()
        self.agent = make_agent(board(), 1000, 1000, self.link, (4, 300_000, 100, 5000))

    def drain(self):
        poll_all(self.agent)
        return self.link.sent()


def test_a_tick_with_hosts_that_proved_a_key_allocates_nothing():
    rig = PlainRig()
    for host_id in (100, 101):
        assert Host(rig, host_id).join().ask(PING) == [[0, None]]
    agent = rig.agent
    rig.link.is_counting = True
    for _ in range(2):
        skip_seconds(agent, 1)
        poll_for_sample(agent)
        poll_all(agent)
    written = rig.link.written
    for _ in range(5):
        skip_seconds(agent, 1)
        agent.storage.deadline_s = 10_000  # to ask the file system takes memory
        with no_heap():
            poll_for_sample(agent)
            poll_now(agent)
    assert agent.faults == 0
    assert rig.link.written > written
