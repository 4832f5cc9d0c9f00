# targets: unix frozen qemu
"""The loops that a sample goes through: viper and bytecode do the same, and touch nothing else."""

from array import array

from harness import no_heap
from loops_rig import UNKNOWN, Beginning, Chance, both, fast, plain, word
from warden_schema import codec

_WORDS = 43  # of a sample, and what is behind its figures
_LAST = 5  # words that nobody may touch
_PERIOD_MS = 29
_COST_US = 30
_BUDGET = 31
_WANTED = 32
_INTERVAL = 33
_MEAN_US = 34
_REST = 35
_LAST_SENT = 36
_USED_BYTES = 37
_STORED = 38
_SHIFT = 39
_DUE_S = 40
_DUE_MS = 41
_LEFT_MS = 42
_SENT = 0
_LEFT = 1
_PLACES = bytes(range(2, 24))


def _sample(chance):
    """Return a sample's words with figures in all of it, and more words behind."""
    values = array("i", [word(chance) for _ in range(_WORDS)] + [77] * _LAST)
    values[0] = chance.below(1000)
    values[1] = chance.below(1000)
    for place in range(_PERIOD_MS, _WORDS):
        values[place] = 0
    return values


def _same(pairs, *why):
    for one, other in pairs:
        assert one == other, why


def _figure(chance):
    """Return a figure that is not negative, or UNKNOWN."""
    value = word(chance)
    return value if value >= 0 else UNKNOWN


def _check_due(values, late):
    """See that the next sample is due when it should be, after one that was late by so many ms."""
    interval, left = values[_INTERVAL], values[_LEFT_MS]
    if interval:
        assert 0 < left <= interval
        assert (late + left) % interval == 0 if late > 0 else left == interval
        due = values[_DUE_S] * 1000 + values[_DUE_MS]
        assert due == values[0] * 1000 + values[1] + left and values[_DUE_MS] < 1000


def test_a_sample_begins_the_same():
    quick, slow = both()
    chance = Chance(23)
    seen = set()
    for turn in range(60):
        wanted = (20, 100, 1000, 60_000, 0)[chance.below(5)]
        one = _sample(chance)
        one[_BUDGET] = 1 + chance.below(1000)
        one[_WANTED] = one[_INTERVAL] = wanted
        other = array("i", one)
        s, ms = one[0], one[1]
        threads = array("i", [word(chance)])
        network = array("i", [word(chance) for _ in range(4)])
        for _ in range(30):
            scale = chance.below(23) if wanted != 20 else 23
            cost = chance.below(0x10000) << scale >> 16
            one[_COST_US] = other[_COST_US] = cost if chance.below(8) else -1
            busy = cost + (chance.below(0x10000) << scale >> 16)
            sent = chance.below(0x10000) if turn % 3 else -1
            ms += chance.below(60_000) >> chance.below(16)
            s += ms // 1000 + (chance.below(7) // 6) * 40_000 * chance.below(2)
            ms %= 1000
            one[_DUE_S] = other[_DUE_S] = max(0, s - chance.below(9) * chance.below(200) + 2)
            one[_DUE_MS] = other[_DUE_MS] = chance.below(1000)
            late = (s - one[_DUE_S]) * 1000 + ms - one[_DUE_MS]
            quick.renew(Beginning(one, s, ms, busy, sent, threads, network))
            slow.renew(Beginning(other, s, ms, busy, sent, threads, network))
            assert one == other, (s, ms, busy, sent, cost)
            seen.add(one[_INTERVAL])
            _check_due(one, late)
        assert list(one[_WORDS:]) == [77] * _LAST
        assert one[11] == threads[0] and list(one[12:16]) == list(network)
        assert (one[0], one[1]) == (s, ms)
    assert len(seen) > 20 and 60_000 in seen, seen


def test_a_period_that_no_word_can_hold_ends_where_the_clocks_does():
    for kind in both():
        values = array("i", [0] * _WORDS)
        values[_DUE_S] = 1_000_000
        kind.renew(Beginning(values, 1_000_000, 0, 0, -1, array("i", [1]), array("i", [0] * 4)))
        assert values[_PERIOD_MS] == 1 << 29
        kind.renew(Beginning(values, 1_000_000, 7, 0, -1, array("i", [1]), array("i", [0] * 4)))
        assert values[_PERIOD_MS] == 7


def test_bytes_are_counted_over_the_wrap_of_what_was_sent():
    for kind in both():
        values = array("i", [0] * _WORDS)
        values[_LAST_SENT] = 65_000
        kind.renew(Beginning(values, 2, 0, 0, 464, array("i", [1]), array("i", [0] * 4)))
        assert values[17] == 500
        kind.renew(Beginning(values, 3, 0, 0, -1, array("i", [1]), array("i", [0] * 4)))
        assert values[17] == UNKNOWN  # there is no link
        kind.renew(Beginning(values, 4, 0, 0, 0, array("i", [1]), array("i", [0] * 4)))
        assert values[17] != UNKNOWN
        kind.renew(Beginning(values, 64, 0, 0, 0, array("i", [1]), array("i", [0] * 4)))
        assert values[17] == UNKNOWN  # in a minute more may have gone than is counted


def test_load_is_the_same():
    quick, slow = both()
    chance = Chance(31)
    lags = set()
    for turn in range(400):
        one = _sample(chance)
        one[_PERIOD_MS] = (0, 8 + chance.below(2000), 8 + chance.below(60_000), 899_999, 900_000)[
            chance.below(5)
        ]
        other = array("i", one)
        idle = chance.below(0x10000) << chance.below(14)
        squares = chance.below(0x10000) << chance.below(14)
        cells = [array("i", [idle, word(chance) & 0xFFFFF, squares, chance.below(9), turn % 2, 77])]
        cells.append(array("i", cells[0]))
        step = chance.below(0x10000) << chance.below(10) if turn % 5 else -1
        quick.load(one, cells[0], step)
        slow.load(other, cells[1], step)
        _same(((one, other), cells), turn)
        assert list(cells[0][:3]) == [0, 0, 0] and cells[0][5] == 77
        lags.add(one[8])
    assert UNKNOWN in lags and len(lags) > 10, lags


def test_the_heap_is_judged_the_same():
    quick, slow = both()
    chance = Chance(37)
    seen = set()
    for turn in range(600):
        total = 10_000 + (chance.below(0x10000) << chance.below(14))
        total = min(total, 0x3FFFFFFF)
        eighth = total >> 3
        free = eighth * chance.below(9) + chance.below(3)
        one = _sample(chance)
        live = eighth * chance.below(8) + chance.below(eighth // 2)
        one[5] = live if turn % 7 else UNKNOWN
        one[_USED_BYTES] = max(
            0, min(total - free + (chance.below(200) - 80) * (total // 999), total)
        )
        other = array("i", one)
        state = array("i", [77] * 19)
        state[0], state[1], state[2] = total, min(free, total), _figure(chance)
        state[5] = 0 if turn % 3 else 1 + chance.below(9)
        state[9] = eighth * chance.below(8)
        before = array("i", state)
        found = slow.heap(other, state)
        assert quick.heap(one, state) == found, (one, state)
        _same(((one, other), (before, state)), turn)
        seen.add(found)
    assert seen == {0, 1, 2}, seen


def test_filing_is_the_same():
    quick, slow = both()
    chance = Chance(11)
    slots = [array("i", [0] * 51 + [77]) for _ in range(2)]
    rings = [array("H", [0xFFFF] * 1728 + [77]) for _ in range(2)]
    s = 0
    for turn in range(900):
        values = array("i", [_figure(chance) for _ in range(24)] + [0] * 16)
        values[_STORED] = _figure(chance)
        values[_SHIFT] = chance.below(15)
        kept = array("i", values)
        unknown = slow.keep(values, slots[1], rings[1], s)
        assert quick.keep(values, slots[0], rings[0], s) == unknown, (turn, values)
        assert unknown == sum([1 << 15 - at for at in range(5, 16) if values[at] == UNKNOWN])
        _same((slots, rings, (kept, values)), turn)
        s += (0, 1, 1, 1, 2, 40, 60, 61, 130, 4000)[chance.below(10 if turn % 9 == 0 else 5)]
        if turn == 800:
            s += 500_000
    assert slots[0][51] == rings[0][1728] == 77
    assert s > 1_000_000 // 2


def test_what_is_crossed_is_the_same():
    quick, slow = both()
    chance = Chance(9)
    seen = set()
    for turn in range(400):
        one = array("i", [word(chance) for _ in range(29)] + [77])
        for place in (3, 5):
            one[place] = _figure(chance)
        if turn % 3 == 0:
            one[3] = 140_000 + chance.below(5000)
        if one[5] > one[3]:
            one[5] = one[3]
        other = array("i", one)
        rows = array("i", [0] * 32)
        for row in range(8):
            place = chance.below(40)
            edge = one[place] + chance.below(3) - 1 if place < 29 else 0
            edge = max(-0x3FFFFFFF, min(edge, 0x3FFFFFFF))
            words = (place if place < 29 else -1, edge, chance.below(2), chance.below(8) // 7)
            for index, each in enumerate(words):
                rows[4 * row + index] = each
        for row in range(9):
            found = slow.crossed(other, rows, row, 8)
            assert quick.crossed(one, rows, row, 8) == found, (one, rows, row)
            assert one == other
            seen.add(found)
        if one[5] >= 0 and one[3] >= 1000:
            assert one[24] == one[5] // (one[3] // 1000) and one[28] == one[3] - one[5]
        else:
            assert one[24] == one[28] == UNKNOWN
    assert seen == set(range(-1, 8)), seen


def test_forecasts_are_the_same():
    quick, slow = both()
    chance = Chance(17)
    seen = set()
    least = b"\x0f\x13\x16\x1a\x1d\x21\x26"
    for turn in range(400):
        at = turn % 3 * 4
        ring = array("H", [chance.below(900) + turn for _ in range(60 * 12 + 12)])
        newest = chance.below(60)
        if turn % 4:  # it rises
            for age in range(60):
                slot = (newest + 60 - age) % 60
                ring[at + slot * 12] = 60_000 - age * (turn % 7) * 100 - chance.below(600)
        if turn & 1:  # holes, and nothing before some time
            for age in range(chance.below(60), 60):
                ring[at + (newest + 60 - age) % 60 * 12] = 0xFFFF
            for _ in range(chance.below(20)):
                ring[at + chance.below(60) * 12] = 0xFFFF
        points = [array("i", [-7] * 13) for _ in range(2)]
        limit = 0xFFFE - chance.below(9000)
        step_s = (1, 60)[turn & 1]
        found = slow.forecast(ring, newest, at, points[1], least, limit, step_s)
        assert quick.forecast(ring, newest, at, points[0], least, limit, step_s) == found, turn
        assert points[0] == points[1] and points[0][12] == -7
        seen.add(found)
    assert -1 in seen and 0 in seen and len(seen) > 50, seen


def _told(kind, values, told, seq):
    payload = bytearray(b"\xaa" * 136)
    length = kind.tell(values, told, _PLACES, seq, payload)
    assert length <= 128 and payload[length:] == b"\xaa" * (136 - length)
    return bytes(payload[:length])


def test_telling_is_the_same():
    quick, slow = both()
    chance = Chance(7)
    counts = set()
    values = array("i", [word(chance) for _ in range(24)])
    values[0], values[1] = 5, 0
    told = [array("i", [0, 0, 0, 0, 0, 6] + [0] * 61 + [77]) for _ in range(2)]
    for turn in range(500):
        seq = chance.below(0x10000) >> chance.below(16)
        values[2] = chance.below(60_000) if turn % 11 == 0 else 1000
        payload = _told(slow, values, told[1], seq)
        assert _told(quick, values, told[0], seq) == payload, (turn, values, seq)
        _same((told,), turn)
        message = codec.decode(bytearray(payload), len(payload))
        assert message[1] == seq
        if message[0] == 3:
            assert message[2] == [None if value == UNKNOWN else value for value in values]
        counts.add((message[0], len(message)))
        if turn % 5:
            told[0][_SENT] = told[1][_SENT] = 1
        if turn % 90 == 0:
            told[0][_LEFT] = told[1][_LEFT] = 0
        values[0] += chance.below(3) + (210_000 if turn % 29 == 0 else 0)
        values[1] = chance.below(1000)
        for _ in range(chance.below(14 if turn % 9 == 0 else 4)):
            values[6 + chance.below(18)] = word(chance)
    assert told[0][67] == 77
    assert counts.issuperset(((3, 3), (16, 5), (16, 6), (16, 7))), counts


def test_each_number_is_packed_as_msgpack_has_it():
    from loops_rig import WORDS

    for kind in both():
        for number in WORDS:
            values = array("i", [number] * 24)
            payload = _told(kind, values, array("i", [0, 0, 0, 0, 0, 6] + [0] * 61), 300)
            message = codec.decode(bytearray(payload), len(payload))
            assert message[2] == [None if number == UNKNOWN else number] * 24
            if number != UNKNOWN:
                shortest = bytearray(9)
                size = codec.put_int(shortest, 0, number)
                assert len(payload) == 8 + 24 * size, number
                assert payload[8 : 8 + size] == shortest[:size]


def test_neither_allocates():
    values = array("i", [100, 5, 1000, 143_360, 90_000, 50_000] + [UNKNOWN] * 37)
    for place in range(_PERIOD_MS, _WORDS):
        values[place] = 0
    values[_BUDGET], values[_WANTED], values[_INTERVAL] = 10, 100, 100
    values[_COST_US] = 8_000_000
    one, four = array("i", [1]), array("i", [UNKNOWN] * 4)
    cells = array("i", [500_000, 90_000, 1 << 28, 3, 1])
    state = array("i", [143_360, 90_000, UNKNOWN] + [0] * 16)
    slots = array("i", [0] * 51)
    ring = array("H", [0] * 1728)
    rows = array("i", [4, 201, 0, 0] * 8)
    told = array("i", [0, 0, 0, 0, 0, 6] + [0] * 61)
    payload = bytearray(128)
    points = array("i", [0] * 12)
    least = b"\x01" * 7
    begun = Beginning(values, 200, 999, 16_000_000, 5, one, four)
    for kind in (fast, plain) if fast else (plain,):
        renew, load, heap, keep = kind.renew, kind.load, kind.heap, kind.keep
        crossed, tell, forecast = kind.crossed, kind.tell, kind.forecast
        with no_heap():
            for s in (200, 300, 400_000, 80_000_000):
                values[_DUE_S] = s - 3
                begun.s = s
                begun.resting[8] = 16_000_000
                renew(begun)
                load(values, cells, 5000)
                heap(values, state)
                keep(values, slots, ring, s)
                crossed(values, rows, 0, 8)
                forecast(ring, 7, 4, points, least, 9000, 60)
                tell(values, told, _PLACES, s & 0xFFFF, payload)
                told[_SENT] = 1
        values[0] = 100
