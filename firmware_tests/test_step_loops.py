# targets: unix frozen qemu
"""A step of the agent in machine code and in bytecode: equal, and both as they are meant."""

import gc
from array import array

from loops_rig import Chance, both, plain
from rig import FakeLine
from virtual_board import Rig
from warden.forecast import Forecast
from warden.history import History
from warden.sampler import Sampler
from warden.uplink import Uplink

_HOST = 77


class Ticking:
    """What `advance` reads of a clock; its ticks have `bits` bits."""

    def __init__(self, bits, start):
        self.mask = (1 << bits) - 1
        self.half = 1 << min(bits, 30) - 1
        self.now = start
        self.s = self.ms = 0
        self.last = start & self.mask & 0x3FFFFFFF

    def ticks_ms(self):
        return self.now & self.mask


def test_a_clock_goes_as_far_as_its_ticks_over_their_wrap():
    for kind in both():
        for bits, start in ((25, (1 << 25) - 400), (30, (1 << 30) - 9000), (25, 0), (40, 1 << 33)):
            chance = Chance(71)
            clock = Ticking(bits, start)
            for _ in range(60):
                clock.now += chance.below(1 << chance.below(22))
                kind.advance(clock)
                passed = clock.now - start
                assert (clock.s, clock.ms) == (passed // 1000, passed % 1000), (bits, passed)


def test_a_clock_whose_ticks_go_back_a_little_makes_up_for_it():
    for kind in both():
        clock = Ticking(30, 5000)
        for step in (400, -30, 30, 600):
            clock.now += step
            kind.advance(clock)
        assert (clock.s, clock.ms) == (1, 0)


def test_a_forecast_is_looked_at_when_it_is_due_and_found_alike():
    kinds = both()
    chance = Chance(89)
    values = Sampler().values
    history = History(values)
    forecasts = [Forecast(history, 0) for _ in kinds]
    seen = set()
    s = 0
    for turn in range(400):
        s += 1 if chance.below(40) else chance.below(400)
        values[5] = 20 * turn + chance.below(200) if turn < 300 else 6000
        history.add(s)
        if chance.below(3) == 0:
            found = [kind.foresee(of, 50_000) for kind, of in zip(kinds, forecasts)]
            assert found[0] == found[1] and forecasts[0].words == forecasts[1].words, turn
            words = forecasts[0].words
            assert words[6] == min(words[0], words[1] * 60) > s
            seen.add(found[0])
    assert -0x40000000 in seen and len(seen) > 10


def _state_of(uplink):
    state = (uplink.seq, uplink.sent, uplink.at, uplink.end, uplink.acked, uplink.unacked_frames)
    return state, list(uplink.sent_at), bytes(uplink.link.outbox)


def test_frames_are_sent_and_acknowledged_alike():
    kinds = both()
    chance = Chance(73)
    refused = 0
    for window in (0, 60, 256):
        uplinks = [Uplink(FakeLine(window)) for _ in kinds]
        for uplink in uplinks:
            uplink.seq, uplink.sent = 65_500, 65_000
        for _ in range(120):
            length = 5 + chance.below(60)
            room = chance.below(9 * length)
            reserve = (0, 48)[chance.below(2)]
            ack = uplinks[0].seq - chance.below(20) - 1 & 0xFFFF
            if chance.below(6) == 0:
                ack = (-0x40000000, -1, 0x10000, 0x3FFFFFFF)[chance.below(4)]
            acknowledged = chance.below(8) == 0
            data = chance.bytes(length)
            told = []
            for kind, uplink in zip(kinds, uplinks):
                uplink.payload[:length] = data
                uplink.link.outbox = bytearray()
                uplink.link.room = None if room > 2 * length else room
                went = uplink.ready() and kind.send(uplink, length, reserve)
                if acknowledged:
                    kind.acknowledge(uplink, ack)
                told.append((went, _state_of(uplink)))
            assert told[0] == told[1], (window, length, room, reserve, ack)
            refused += not told[0][0]
    assert 20 < refused < 340, refused
    for kind in kinds:
        uplink = Uplink(FakeLine())
        for _ in range(20):
            assert kind.send(uplink, 5, 0)
        kind.acknowledge(uplink, uplink.seq - 17)  # what was sent until then is not kept
        assert (uplink.acked, uplink.unacked_frames) == (0, 16)
        kind.acknowledge(uplink, uplink.seq - 16)
        assert (uplink.acked, uplink.unacked_frames) == (uplink.sent_at[4], 15)


class _Told:
    """A session and its one table, of eight rows; those of an odd number have nothing to tell."""

    def __init__(self):
        self.uplink = Uplink(FakeLine())
        self.news = bytearray(3)
        self.place = 2
        self.due = bytearray(8)
        self.frames = 0
        self.under_way = None
        self.row_under_way = -1
        self.rows = []
        self.sent = None
        self.again = -1

    def encode(self, row, uplink):
        assert (self.under_way, self.row_under_way, self.due[row]) == (self, row, 0)
        self.rows.append(row)
        return 0 if row & 1 else uplink.begin(9, 0)

    def count(self):
        """Have an earlier row told, too, once one has left."""
        self.rows.append("sent")
        if self.again >= 0:
            self.due[self.again] = 1
            self.again = -1


def test_rows_are_told_alike_two_frames_a_turn():
    told = []
    for kind in both():
        session = _Told()
        session.due[:] = b"\1\1\1\0\1\1\1\1"
        assert kind.pump_rows(session, session) == 0
        assert (session.rows, list(session.news)) == ([0, 1, 2], [0, 0, 1])
        assert bytes(session.due) == b"\0\0\0\0\1\1\1\1"
        session.frames = 0
        session.sent, session.again = session.count, 2
        assert kind.pump_rows(session, session) == 0
        assert session.rows[3:] == [4, "sent", 2, "sent"]
        assert (session.frames, bytes(session.due)) == (2, b"\0\0\0\0\0\1\1\1")
        session.frames = 0
        session.uplink.link.room = 0  # the link is full
        assert kind.pump_rows(session, session) == 0
        assert (session.frames, bytes(session.due)) == (0, b"\0\0\0\0\0\0\1\1")
        assert list(session.news) == [0, 0, 1] and session.under_way is None
        session.uplink.link.room = None
        assert kind.pump_rows(session, session) == 1
        assert (session.frames, list(session.news), sum(session.due)) == (1, [0, 0, 0], 0)
        session.due[3] = 1
        session.encode = None  # whatever it raises, it is under way still
        try:
            kind.pump_rows(session, session)
        except TypeError:
            assert (session.under_way, session.row_under_way) == (session, 3)
        told.append((session.rows, bytes(session.uplink.link.outbox)))
    assert told[0] == told[1]


_TURNS = 300


def _digest(what, before):
    text = str(what).encode()
    return plain.crc16(text, 0, len(text), before)


def _life(kind):
    """Have a whole agent live for some minutes by steps of this kind; return what it did.

    That is a digest for each step, of what it returned, told and left in the agent's words.
    """
    gc.collect()
    did = array("H", [0] * _TURNS)
    rig = Rig(interval_ms=500)
    agent, line = rig.agent, rig.line
    chance = Chance(79)
    held = []
    told = 0
    us = [0]

    def ticks_us():
        us[0] += 37
        return rig.board.ticks.ticks_us() + us[0] & 0x3FFFFFFF

    agent.ticks_us = rig.board.ticks_us = ticks_us
    line.hear(64, 1, 0, _HOST)
    rig.policy.thresholds.set("memory_exhausted_in", warn=60)
    rig.policy.thresholds.set("live_bytes", warn=90_000)
    for turn in range(_TURNS):
        what = chance.below(24)
        if what == 0:
            line.hear(64, 1, 0, _HOST + chance.below(2))
        elif what < 7:
            line.hear(66, _HOST, agent.uplink.seq - 1 - chance.below(3) & 0xFFFF)
        elif what == 7:
            line.hear(67, _HOST, turn, 0, [])
        elif what == 8:
            line.inbox.extend(chance.bytes(40))
        elif what == 9:
            held.append(rig.policy.allocate(3, 10, ttl_ms=1 + chance.below(3000)))
        elif what == 10:
            rig.board.kept = chance.below(100_000)
        elif what < 13:
            line.room = chance.below(40)
        elif what < 15:
            line.room = None
        elif what == 15 and held:
            held.pop().release()
        elif what == 16:
            agent.start_monitoring(20 + chance.below(500))
        elif what == 17:
            rig.policy.ladder.level = chance.below(2)
        elif what == 18:
            rig.board.ticks.pass_ms(chance.below(3000))
        rig.board.ticks.pass_ms(chance.below(1 << chance.below(10)))
        wait = kind.turn(agent, what != 19)
        did[turn] = _digest(wait, _digest(line.outbox, _digest(agent.values, turn)))
        did[turn] = _digest(agent.resting, did[turn])
        told += len(line.outbox)
        line.outbox = bytearray()
    assert agent.faults == 0
    assert agent.memory.collections
    assert told > 1000
    return did


def test_a_whole_agent_does_the_same():
    one, other = (_life(kind) for kind in both())
    for turn in range(_TURNS):
        assert one[turn] == other[turn], turn


def test_what_a_host_says_is_heard_alike():
    kinds = both()
    chance = Chance(83)
    rigs = [Rig() for _ in kinds]
    for turn in range(200):
        text = bytearray()
        talk = FakeLine()
        for _ in range(chance.below(4)):
            what = chance.below(5)
            if what == 0:
                talk.hear(64, 1, 0, _HOST)
            elif what == 1:
                talk.hear(66, _HOST + chance.below(2), chance.below(70_000))
            elif what == 2:
                talk.hear(66, _HOST, None)
            elif what == 3:
                talk.hear(67, _HOST, turn, 0, [])
            else:
                talk.inbox.extend(chance.bytes(30))
        text = bytes(talk.inbox)
        heard = []
        for kind, rig in zip(kinds, rigs):
            session = rig.agent.session
            rig.board.ticks.pass_ms(7)
            rig.line.inbox = bytearray(text)
            kind.hear(session, rig.line.read(session.chunk))
            state = (session.host_id, session.due, session.bad, session.heard_s, session.heard_ms)
            heard.append((state, session.sent_at_keepalive, _state_of(session.uplink)[:2]))
            heard[-1] += (len(rig.line.inbox), tuple(session.marks), tuple(session.news))
            rig.agent.step()
            rig.line.outbox = bytearray()
        assert heard[0] == heard[1], turn
    assert rigs[0].agent.session.bad > 10
    assert array("i", rigs[0].agent.values)[20] == rigs[0].agent.session.bad
