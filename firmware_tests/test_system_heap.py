"""An ESP32's system heap is read (from a fake: there is no ESP32 here), decided on, and sent."""

import sys

import warden
from harness import no_heap
from metrics import METRICS
from rig import FakeLink, PressedBoard, poll_all
from warden.setup import make_agent

_HELLO = 1
_SYNCED = 5
_SYSTEM_HEAP = 17
_REASON = 14  # its place among the capabilities
_AVAILABLE = 0
_NO_MODULE = 1
_IMPOSSIBLE = 18
_LIMITS = (4, 300_000, 100, 5000)
_NAMES = METRICS[-3:]


class FakeEsp32:
    """Stands in for the module `esp32`, whose idf_heap_info lists (total, free, largest, least).

    The regions are set by hand; `error` is raised instead, where there is one.
    """

    HEAP_DATA = 4
    HEAP_EXEC = 1

    def __init__(self, *regions):
        self.regions = list(regions)
        self.error = None
        self.calls = 0

    def idf_heap_info(self, capabilities):
        assert capabilities == self.HEAP_DATA, "of the memory for data"
        self.calls += 1
        if self.error is not None:
            raise self.error
        return list(self.regions)


def _install(esp32):
    """Have this module stand for `esp32`, also where the fake of another test was imported."""
    sys.modules["esp32"] = esp32
    for name in ("warden.sensors.system_heap", "warden.system_heap"):  # source, and as it is joined
        sys.modules.pop(name, None)


class _On:
    """Has a firmware with this module `esp32`, and an agent on it, until the block ends."""

    def __init__(self, esp32, link=None, limits=_LIMITS):
        self._esp32 = esp32
        self._link = link
        self._limits = limits

    def __enter__(self):
        _install(self._esp32)
        self.board = PressedBoard()
        return self, make_agent(self.board, 1000, 1000, self._link, self._limits)

    def __exit__(self, *_):
        del sys.modules["esp32"]

    def pass_s(self, agent, seconds):
        """Have so many samples taken, a second apart; a host that listens says that it is there."""
        for _ in range(seconds):
            self.board.ticks.pass_ms(1000)
            if self._link is not None:
                self._link.receive(66, 77, 0)
            poll_all(agent)


def _of_kind(link, kind):
    return [message for message in link.sent() if message[0] == kind]


def test_regions_are_added_up_and_the_largest_block_is_of_one_of_them():
    with _On(FakeEsp32((113_840, 1200, 900, 800), (15_072, 700, 300, 40))) as (_, agent):
        assert agent.system_heap.values == (1900, 900, 840)
        assert agent.reasons[_REASON] == _AVAILABLE


def test_the_status_has_it():
    with _On(FakeEsp32((113_840, 1200, 900, 800))) as (_, agent):
        status = agent.fill_status({}, True)
        found = status["system_heap"]
        assert found == {
            "free_bytes": 1200,
            "largest_free_block_bytes": 900,
            "low_water_bytes": 800,
        }
        agent.fill_status(status, True)  # in a full heap the same dict is filled again
        with no_heap():
            agent.system_heap.fill(found)
        assert status["system_heap"] is found


def test_it_is_none_with_a_reason_where_there_is_no_such_heap():
    agent = make_agent(PressedBoard(), 1000, 1000, None, _LIMITS)
    assert agent.system_heap is None
    assert agent.reasons[_REASON] == _NO_MODULE
    for name in _NAMES:
        assert agent.policy.thresholds.read(METRICS.index(name)) is None


def test_a_firmware_whose_esp32_does_not_say_has_none():
    with _On(object()) as (_, agent):
        assert agent.system_heap is None
        assert agent.reasons[_REASON] == _NO_MODULE


def test_it_is_read_every_ten_seconds():
    esp32 = FakeEsp32((1000, 500, 400, 300))
    with _On(esp32) as (on, agent):
        assert esp32.calls == 1
        on.pass_s(agent, 9)
        assert esp32.calls == 1
        esp32.regions[0] = (1000, 450, 350, 250)
        on.pass_s(agent, 1)
        assert esp32.calls == 2 and agent.system_heap.values == (450, 350, 250)
        on.pass_s(agent, 10)
        assert esp32.calls == 3


def test_a_tick_between_two_readings_allocates_nothing():
    with _On(FakeEsp32((1000, 500, 400, 300))) as (_, agent):
        agent.policy.thresholds.set(_NAMES[0], 400, 200)
        agent.system_heap.read()
        with no_heap():
            agent.system_heap.read()
            agent.policy.thresholds.evaluate(1000)


def test_where_there_is_no_memory_for_the_list_what_is_known_stands():
    esp32 = FakeEsp32((1000, 500, 400, 300))
    with _On(esp32) as (on, agent):
        esp32.error = MemoryError()
        on.pass_s(agent, 10)
        assert esp32.calls == 2 and agent.faults == 0
        assert agent.system_heap.values == (500, 400, 300)


def test_figures_that_cannot_be_are_none_with_a_reason():
    good = (1000, 500, 400, 300)
    absurd = (
        (1000, -500, -400, 300),
        (1000, 500, 400, -300),
        (1 << 40, 1 << 40, 400, 300),  # more than any memory
        (1000, 1001, 400, 300),  # free beyond the total
        (1000, 500, 501, 300),  # the largest block beyond free
        (1000, 500, 400, 501),  # the least ever beyond what is free now
        (1000, 500.0, 400, 300),
        (1000, None, 400, 300),
        (1000, True, 1, 1),
        (1000, "500", 400, 300),
        (1000, 500, 400),
        (0, 0, 0, 0),  # a heap of nothing
        500,
    )
    half = (0x3FFFFFFF, 500, 400, 300)
    for regions in [(each,) for each in absurd] + [(good, absurd[0]), (half, half), ()]:
        esp32 = FakeEsp32(*regions)
        with _On(esp32) as (on, agent):
            assert agent.system_heap.values == (None, None, None), regions
            assert agent.reasons[_REASON] == _IMPOSSIBLE, regions
            esp32.regions = [good]
            on.pass_s(agent, 10)
            assert agent.system_heap.values == (500, 400, 300)
            assert agent.reasons[_REASON] == _AVAILABLE and agent.faults == 0
    esp32 = FakeEsp32(good)
    esp32.error = OSError(5)  # not documented, either
    with _On(esp32) as (_, agent):
        assert agent.reasons[_REASON] == _IMPOSSIBLE


def test_a_host_is_told_when_its_figures_cease_to_make_sense_and_when_they_do_again():
    esp32 = FakeEsp32((1000, 500, 400, 300))
    link = FakeLink()
    with _On(esp32, link) as (on, agent):
        agent.policy.thresholds.set(_NAMES[0], 400, 200)
        link.receive(64, 1, 0, 77)
        poll_all(agent)
        link.sent()
        for free, reason, sent in ((-500, _IMPOSSIBLE, [None] * 3), (500, 0, [500, 400, 300])):
            esp32.regions = [(1000, free, 400, 300)]
            on.pass_s(agent, 10)
            messages = link.sent()
            hello = [message for message in messages if message[0] == _HELLO][-1]
            assert hello[8][_REASON] == reason
            assert [each[2:] for each in messages if each[0] == _SYSTEM_HEAP] == [sent]
            assert agent.policy.thresholds.read(METRICS.index(_NAMES[0])) == sent[0]
            assert agent.policy.thresholds.all()[1].level == 0 and agent.faults == 0


def test_it_is_not_known_until_it_was_read():
    esp32 = FakeEsp32((1000, 500, 400, 300))
    esp32.error = MemoryError()
    link = FakeLink()
    with _On(esp32, link) as (on, agent):
        assert agent.system_heap.values == (None, None, None)
        for name in _NAMES:
            assert agent.policy.thresholds.read(METRICS.index(name)) is None
        link.receive(64, 1, 0, 77)
        poll_all(agent)
        kinds = [message[0] for message in link.sent()]
        assert _SYNCED in kinds and _SYSTEM_HEAP not in kinds
        esp32.error = None
        on.pass_s(agent, 10)
        assert [message[2:] for message in _of_kind(link, _SYSTEM_HEAP)] == [[500, 400, 300]]


def test_a_host_is_sent_it_before_synced_and_when_it_changes():
    esp32 = FakeEsp32((1000, 500, 400, 300))
    link = FakeLink()
    with _On(esp32, link) as (on, agent):
        link.receive(64, 1, 0, 77)
        poll_all(agent)
        messages = link.sent()
        kinds = [message[0] for message in messages]
        assert kinds.count(_SYSTEM_HEAP) == 1
        assert kinds.index(_SYSTEM_HEAP) < kinds.index(_SYNCED)
        assert messages[kinds.index(_SYSTEM_HEAP)][2:] == [500, 400, 300]
        assert messages[kinds.index(_HELLO)][8][_REASON] == _AVAILABLE
        on.pass_s(agent, 20)
        assert _of_kind(link, _SYSTEM_HEAP) == []  # it is as it was
        esp32.regions[0] = (1000, 90, 80, 70)
        on.pass_s(agent, 10)
        assert [message[2:] for message in _of_kind(link, _SYSTEM_HEAP)] == [[90, 80, 70]]


def test_one_that_watches_sends_it_too():
    link = FakeLink()
    with _On(FakeEsp32((1000, 500, 400, 300)), link, None) as (_, agent):
        link.receive(64, 1, 0, 77)
        poll_all(agent)
        assert [message[2:] for message in _of_kind(link, _SYSTEM_HEAP)] == [[500, 400, 300]]


def test_thresholds_watch_it_and_little_is_bad():
    esp32 = FakeEsp32((113_840, 60_000, 50_000, 40_000))
    with _On(esp32) as (on, agent):
        thresholds = agent.policy.thresholds
        for name, warn, critical in zip(_NAMES, (20_000, 15_000, 12_000), (10_000, 8000, 6000)):
            thresholds.set(name, warn, critical)
        on.pass_s(agent, 10)
        assert [each.level for each in thresholds.all()[1:]] == [0, 0, 0]
        esp32.regions[0] = (113_840, 20_000, 8000, 7000)
        on.pass_s(agent, 10)
        assert [(each.level, each.value) for each in thresholds.all()[1:]] == [
            (1, 20_000),
            (2, 8000),
            (1, 7000),
        ]
        esp32.regions[0] = (113_840, 30_000, 25_000, 7000)  # the least never rises
        on.pass_s(agent, 10)
        assert [each.level for each in thresholds.all()[1:]] == [0, 0, 1]


def test_start_finds_it_on_micropython():
    _install(FakeEsp32((113_840, 1200, 900, 800)))
    try:
        warden.start(link=False)
        assert warden.status()["system_heap"]["free_bytes"] == 1200
        warden.threshold("system_heap_free_bytes", 20_000, 10_000)
        warden.stop()
        sys.modules.pop("esp32")
        warden.start(link=False)
        assert warden.status()["system_heap"] is None
    finally:
        warden.stop()
        sys.modules.pop("esp32", None)
