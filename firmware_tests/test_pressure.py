"""What the board does when memory is short: the whole agent over a heap that the test sets."""

import gc

import no_memory
from figures import figure
from harness import no_heap, raises
from metrics import METRICS
from rig import PressedBoard
from usual import new_lease, new_operation
from warden.errors import Denied, Preempted
from warden.setup import make_agent

LOW, NORMAL, HIGH, CRITICAL = range(4)
TELL, PROTECT, RESET = range(3)
MEMORY, BANDWIDTH = 0, 3
LIMITS = (4, 300_000, 100, 5000)


class Rig:
    """An agent that samples every second; live memory is set in permille of the heap."""

    def __init__(self, board=None):
        self.board = board or PressedBoard()
        self.agent = make_agent(self.board, 1000, limits=LIMITS)
        self.policy = self.agent.policy
        self.policy.thresholds.set("memory", 800, 900, 700, 0, PROTECT)
        self.events = []
        self.policy.events.on(None, self._note)

    def _note(self, event):
        self.events.append((event[1], event[5], event[6]))

    def live(self, permille, seconds=1):
        """Have so much live memory, seen by a collection, for so many seconds."""
        self.board.live = self.board.total // 1000 * permille
        self.agent.memory.live = None  # so that the next sample looks
        for _ in range(seconds):
            self.board.ticks.pass_ms(1000)
            self.agent.poll()
        assert self.agent.faults == 0

    def begin(self, name, priority=NORMAL):
        op = new_operation(self.policy.operations, name, priority)
        return self.policy.operations.begin(op)

    def kinds(self, kind):
        return [event[1:] for event in self.events if event[0] == kind]

    def trim(self, permille, asked, name):
        """Return a function that gives so much back, once, and says that it was asked."""

        def give(level):
            asked.append((name, level))
            self.board.live -= self.board.total // 1000 * permille
            return 12345  # nobody believes it

        self.policy.pressure.on_trim(give)
        return give


def test_memory_is_protected_unless_told_otherwise():
    (threshold,) = make_agent(PressedBoard(), 1000, limits=LIMITS).policy.thresholds.all()
    assert (METRICS[threshold.metric], threshold.action) == ("memory", PROTECT)
    assert (threshold.warn, threshold.critical, threshold.clear) == (750, 850, 650)


def test_at_warn_memory_is_asked_for_until_it_is_enough():
    rig = Rig()
    asked = []
    rig.trim(50, asked, "little")
    rig.trim(100, asked, "much")
    rig.trim(10, asked, "not needed")
    rig.live(820)
    assert asked == [("little", 1), ("much", 1)]
    assert rig.kinds("trim") == [("give", 10_000), ("give", 20_000)]
    rig.live(670)
    assert rig.kinds("threshold") == [("warn", 820), ("clear", 670)]


def test_the_callback_that_freed_most_runs_first_next_time():
    rig = Rig()
    asked = []
    rig.trim(0, asked, "nothing")
    rig.trim(20, asked, "little")
    rig.trim(60, asked, "more")
    rig.live(850)
    assert [name for name, _ in asked] == ["nothing", "little", "more"]
    rig.live(600)
    del asked[:]
    rig.trim(0, asked, "new")
    rig.live(850)
    assert [name for name, _ in asked] == ["more", "little", "new", "nothing"]


def test_garbage_is_collected_first_and_nobody_is_asked_if_that_is_enough():
    rig = Rig()
    asked = []
    rig.trim(100, asked, "asked")
    rig.live(600)
    memory = rig.agent.memory
    memory.live = memory._last_used = 170_000  # as a collection long ago left it
    rig.board.live = 100_000
    rig.board.garbage = 75_000
    rig.board.ticks.pass_ms(1000)
    rig.agent.poll()
    assert rig.kinds("collect") == [(None, 75_000)]
    assert asked == []


def test_a_watched_fragmentation_asks_for_memory_until_blocks_join():
    rig = Rig()
    memory = rig.agent.memory
    blocks = [20_000]  # the largest free one that a collection leaves
    memory.largest = 0
    memory.block = lambda: blocks[0]
    rig.policy.thresholds.set("fragmentation", 600, None, 400, 0, PROTECT)
    asked = []

    def join(level):
        asked.append(level)
        blocks[0] = 120_000
        return 0

    rig.policy.pressure.on_trim(join)
    rig.live(300, 2)
    assert asked == [1]
    assert rig.kinds("threshold") == [("warn", 857), ("clear", 142)]


def test_what_is_short_in_another_way_too_is_asked_for_at_once():
    rig = Rig()
    memory = rig.agent.memory
    memory.largest = 0
    memory.block = lambda: 10_000  # is left of what is free, in pieces
    rig.policy.thresholds.set("fragmentation", 600, None, 400, 0, PROTECT)
    asked = []
    rig.policy.pressure.on_trim(asked.append)
    rig.live(300, 3)
    assert asked == [1]
    rig.live(820)
    assert asked == [1, 1]
    assert rig.kinds("threshold") == [("warn", 928), ("warn", 820)]
    rig.live(910)
    assert asked == [1, 1, 2]
    rig.live(780, 3)
    assert rig.policy.pressure.level == 1
    assert asked == [1, 1, 2]  # it has become better


def test_in_whatever_order_they_came_what_is_short_too_is_asked_for_at_once():
    rig = Rig()
    memory = rig.agent.memory
    memory.largest = 0
    blocks = [36_000]
    memory.block = lambda: blocks[0]
    rig.policy.thresholds.set("fragmentation", 600, None, 400, 0, PROTECT)
    asked = []
    rig.policy.pressure.on_trim(asked.append)
    rig.live(820, 3)
    assert asked == [1]
    blocks[0] = 10_000
    rig.live(820)
    assert asked == [1, 1]
    rig.live(820, 3)
    assert asked == [1, 1]
    assert rig.kinds("threshold") == [("warn", 820), ("warn", 722)]


def test_what_is_short_again_and_again_is_asked_for_twice_a_second_at_most():
    assert 60 < _asked_in_a_minute(0) <= 120
    assert 10 < _asked_in_a_minute(100) <= 20  # for a thirtieth of the core


def _asked_in_a_minute(cost_ms):
    """Return how often memory is asked for that goes up and down about warn.

    cost_ms: what a collection takes.
    """
    rig = Rig()
    rig.agent.start_monitoring(100)
    memory = rig.agent.memory
    asked = []
    rig.policy.pressure.on_trim(asked.append)
    for number in range(600):
        rig.board.live = memory.live = rig.board.total // 1000 * (810 - number % 2 * 20)
        memory.cost_us = cost_ms * 1000
        rig.board.ticks.pass_ms(100)
        rig.agent.poll()
    return len(asked)


def test_what_comes_to_be_short_after_its_hold_time_and_worse_is_asked_for_at_its_level():
    rig = Rig()
    memory = rig.agent.memory
    memory.largest = 0
    blocks = [36_000]
    memory.block = lambda: blocks[0]
    rig.policy.thresholds.set("fragmentation", 600, 800, 400, 2000, PROTECT)
    asked = []
    rig.policy.pressure.on_trim(asked.append)
    rig.live(820)
    blocks[0] = 10_000
    rig.live(820, 2)
    assert asked == [1]
    rig.live(820)
    assert asked == [1, 1]
    blocks[0] = 7000
    rig.live(820, 3)
    assert asked == [1, 1, 2]
    assert rig.kinds("threshold") == [("warn", 820), ("warn", 722), ("critical", 805)]


def test_what_is_not_known_any_more_is_asked_for_as_before():
    rig = Rig()
    asked = []
    rig.policy.pressure.on_trim(asked.append)
    rig.live(820)
    memory = rig.agent.memory
    memory.collect = lambda pause: False
    for _ in range(10):
        rig.live(820)
        assert memory.live is None
    assert asked == [1, 1]


def test_a_lack_of_blocks_is_asked_for_beside_what_is_short():
    rig = Rig()
    memory = rig.agent.memory
    memory.largest = 0
    blocks = [36_000]
    memory.block = lambda: blocks[0]
    asked = []
    rig.policy.pressure.on_trim(asked.append)
    rig.live(820, 2)
    assert asked == [1]
    blocks[0] = 1000  # less than a 32nd of the heap
    rig.live(820)
    assert asked == [1, 1]


def test_what_is_short_again_before_it_was_clear_is_asked_for_at_once():
    rig = Rig()
    asked = []
    rig.policy.pressure.on_trim(asked.append)
    rig.live(820)
    rig.live(820, 3)
    assert asked == [1]  # in ten seconds again
    rig.live(750)
    rig.live(820)
    assert asked == [1, 1]
    assert rig.kinds("threshold") == [("warn", 820)]


def test_what_raises_is_reported_and_the_next_is_asked():
    rig = Rig()
    asked = []

    def fail(level):
        raise ValueError("on purpose")

    rig.policy.pressure.on_trim(fail)
    rig.trim(200, asked, "next")
    rig.live(820)
    assert asked == [("next", 1)]
    assert rig.kinds("callback_failed") == [("ValueError", None)]


def test_where_collections_are_off_its_word_is_taken():
    rig = Rig()
    rig.live(500)
    rig.board.collects = False
    rig.trim(10, [], "trusted")
    rig.agent.memory.live = rig.board.live = 170_000
    rig.board.ticks.pass_ms(1000)
    rig.agent.poll()
    assert rig.kinds("trim") == [("give", 12345)]


def test_where_collections_are_off_what_is_used_counts_for_nothing_gives_it_back():
    rig = Rig()
    rig.board.collects = False
    asked = []
    rig.trim(0, asked, "asked")
    rig.board.garbage = rig.board.total // 1000 * 400
    rig.live(350)
    assert asked == []
    rig.live(420)
    assert asked == [("asked", 1)] and figure(rig.agent.sample, "live_bytes") is None
    rig.live(520)
    assert raises(Denied, rig.begin, "x").reason == "pressure"
    rig.board.collects = True
    rig.live(520)
    assert [event[0] for event in rig.kinds("threshold")] == ["warn", "critical", "clear"]


def test_while_it_lasts_memory_is_asked_for_every_ten_seconds():
    rig = Rig()
    asked = []
    rig.trim(0, asked, "nothing")
    rig.live(820, 25)
    assert asked == [("nothing", 1)] * 3
    rig.live(920)
    assert asked[3:] == [("nothing", 2)]  # at once when it gets worse


def test_memory_is_asked_for_at_once_whatever_else_is_critical():
    rig = Rig()
    asked = []
    rig.trim(0, asked, "asked")
    rig.policy.thresholds.set("faults", 0, 0, -1, 0, PROTECT)
    rig.live(500, 3)
    assert rig.policy.pressure.level == 2 and asked == []
    rig.live(820)
    assert asked == [("asked", 1)] and rig.kinds("collect")[0][0] is None
    rig.live(920)
    assert asked[1:] == [("asked", 2)]


def test_critical_refuses_what_is_below_high():
    rig = Rig()
    rig.live(950)
    policy = rig.policy
    for priority in (LOW, NORMAL):
        refused = raises(Denied, new_lease, policy.leases, MEMORY, 10, priority=priority)
        assert refused.reason == "pressure"
        assert raises(Denied, rig.begin, "x", priority).reason == "pressure"
        assert not policy.operations.can_execute(priority)
    assert policy.operations.can_execute(HIGH)
    rig.begin("x", HIGH)
    assert new_lease(policy.leases, BANDWIDTH, 10, priority=CRITICAL)
    rig.live(850)
    assert rig.kinds("denied") == [("pressure", 10), ("pressure", None)] * 2
    assert not policy.operations.can_execute(NORMAL)  # until it is below warn
    rig.live(750)
    assert policy.operations.can_execute(NORMAL)


def test_stopping_monitoring_ends_the_refusals():
    rig = Rig()
    rig.live(950)
    raises(Denied, rig.begin, "normal")
    rig.agent.stop_monitoring()
    rig.begin("normal").complete()
    rig.agent.start_monitoring(1000)
    rig.live(950)
    raises(Denied, rig.begin, "normal")


def test_monitoring_that_is_stopped_in_the_midst_of_a_sample_is_no_fault():
    rig = Rig()
    agent = rig.agent
    read = agent.storage.read

    def stop_and_read(sample):  # as another thread may
        agent.stop_monitoring()
        return read(sample)

    agent.storage.read = stop_and_read
    rig.live(950)
    agent.storage.read = read
    rig.live(950)
    rig.begin("normal").complete()  # what that sample found does not hold for ever
    assert agent.governor.interval_ms == 0 and figure(agent.sample, "interval_ms") == 0
    agent.start_monitoring(1000)
    rig.live(950)
    raises(Denied, rig.begin, "normal")


def test_critical_ends_what_is_low():
    rig = Rig()
    policy = rig.policy
    told = []
    low, normal = rig.begin("low", LOW), rig.begin("normal")
    leases = policy.leases
    agreed = new_lease(leases, MEMORY, 100, priority=LOW, on_preempt=told.append)
    not_agreed = new_lease(leases, MEMORY, 100, priority=LOW)
    normal_lease = new_lease(leases, MEMORY, 100, on_preempt=told.append)
    rig.live(850)
    low.check()
    rig.live(950)
    raises(Preempted, low.check)
    normal.check()
    assert told == [agreed]
    assert (agreed.active, not_agreed.active, normal_lease.active) == (False, True, True)


def test_it_can_be_switched_off_and_set():
    rig = Rig()
    asked = []
    rig.trim(10, asked, "asked")
    rig.policy.thresholds.set("memory", 800, 900, 700, 0, TELL)
    rig.live(950)
    assert asked == [] and rig.kinds("threshold") == [("critical", 950)]
    assert rig.policy.operations.can_execute(LOW)
    rig.policy.thresholds.set("memory")
    rig.live(500)
    rig.live(950)
    assert len(rig.kinds("threshold")) == 1
    rig.policy.thresholds.set("cpu", 800, 900, 700, 0, PROTECT)
    rig.policy.pressure.evaluate(1000)
    assert rig.policy.operations.can_execute(LOW)


def test_a_threshold_that_is_taken_away_while_it_is_crossed_ends_the_pressure():
    rig = Rig()
    rig.live(950)
    rig.policy.thresholds.set("memory")
    rig.live(950)
    assert rig.policy.operations.can_execute(LOW)


def test_half_a_minute_of_critical_resets_the_board_with_a_note_if_it_may():
    rig = Rig()
    rig.policy.thresholds.set("memory", 800, 900, 700, 0, RESET)
    rig.live(950, 31)
    assert rig.board.resets == 0
    assert rig.kinds("reset") == [("about to", 950)]
    rig.live(950)
    assert rig.board.resets == 1
    assert rig.board.note == "1memory critical, 950"
    after = Rig(rig.board)
    after.agent.poll()
    assert after.kinds("reset") == [("memory critical, 950", None)]
    assert rig.board.note is None


def test_after_two_early_resets_in_a_row_the_next_comes_no_sooner_than_after_ten_minutes():
    board = None
    for boot in range(2):
        rig = None  # its memory is for the next one
        gc.collect()
        rig = Rig(board)
        board = rig.board
        rig.policy.thresholds.set("memory", 800, 900, 700, 0, RESET)
        rig.live(950, 32)
        assert board.resets and board.note == str(boot + 1) + "memory critical, 950"
    board.resets = 0
    rig = None
    gc.collect()
    rig = Rig(board)
    rig.policy.thresholds.set("memory", 800, 900, 700, 0, RESET)
    rig.live(950, 595)
    assert board.resets == 0
    assert rig.kinds("reset")[1:] == [("put off", 950)]  # after the note of the last one
    rig.live(950, 10)
    assert rig.kinds("reset")[2:] == [("about to", 950)]
    assert board.resets and board.note == "0memory critical, 950"
    board.note = "memory critical, 950"  # of an older agent
    rig = None
    gc.collect()
    assert Rig(board).policy.early_resets == 0


def test_an_operation_that_waits_for_memory_begins_once_the_application_has_freed_it():
    rig = Rig()
    rig.policy.set_limits(1, None, None, None)
    rig.live(700)
    running = rig.begin("running")
    operations = rig.policy.operations
    need = rig.board.total // 1000 * 300
    waiting = operations.begin(new_operation(operations, "waiting", memory=need, wait_ms=60_000))
    running.complete()
    rig.live(700)
    refused = len(rig.kinds("denied"))
    rig.live(650, 5)
    assert not waiting.lease and len(rig.kinds("denied")) == refused
    rig.live(500)
    rig.agent.poll()
    assert waiting.lease.amount == need


def test_a_board_that_recovers_is_not_reset():
    rig = Rig()
    rig.policy.thresholds.set("memory", 800, 900, 700, 0, RESET)
    rig.live(950, 31)
    rig.live(600)
    rig.live(950, 31)
    assert rig.board.resets == 0
    rig = Rig()
    rig.live(950, 100)
    assert rig.board.resets == 0


def test_a_note_that_cannot_be_kept_does_not_keep_it_from_the_reset():
    rig = Rig()

    def full(text):
        raise OSError(28)

    rig.board.save_note = full
    rig.policy.thresholds.set("memory", 800, 900, 700, 0, RESET)
    rig.live(950, 32)
    assert rig.board.resets == 1


def test_with_every_block_of_the_heap_taken_it_is_reset_and_the_note_counts():
    rig = Rig()
    rig.policy.thresholds.set("memory", 800, 900, 700, 0, RESET)
    rig.live(950, 31)
    rig.board.ticks.pass_ms(1000)
    no_memory.fill()
    rig.agent.poll()
    no_memory.empty()
    assert rig.board.resets == 1
    assert rig.board.note[0] == "1"
    after = Rig(rig.board)
    assert after.policy.early_resets == 1


def test_a_calm_board_allocates_nothing_for_it():
    rig = Rig()
    rig.trim(10, [], "x")
    rig.policy.thresholds.set("memory_exhausted_in", 60, 10, 120, 0, PROTECT)
    rig.live(500, 3)
    rig.policy.evaluate(1000, 0)
    with no_heap():
        rig.policy.evaluate(1000, 0)
        rig.policy.deliver()


def test_crossed_and_quiet_it_allocates_nothing_either():
    rig = Rig()
    rig.live(850, 3)
    with no_heap():
        rig.policy.evaluate(1000, 0)
        rig.policy.deliver()


def test_there_are_eight_functions_at_most():
    rig = Rig()
    for _ in range(8):
        rig.policy.pressure.on_trim(lambda level: 0)
    raises(ValueError, rig.policy.pressure.on_trim, len)


def test_a_function_that_a_restarted_main_sets_again_is_there_once():
    rig = Rig()
    for _ in range(20):
        rig.policy.pressure.on_trim(len)
    assert rig.policy.pressure.functions == [len] + [None] * 7


def _stand_still(end=0, start=0):
    """Stand for ticks and `Clock.advance`: ticks that are set by hand allocate on 32 bits."""
    return 0


def test_it_works_with_no_memory_left():
    rig = Rig()
    rig.policy.thresholds.set("memory", 800, 900, 700, 0, RESET)
    rig.begin("low", LOW)
    rig.live(700, 3)
    pressure = rig.policy.pressure
    rig.agent.clock.advance = rig.board.ticks_us = rig.board.ticks_diff = _stand_still
    rig.board.live = rig.agent.memory.live = 190_000
    with no_heap():
        rig.policy.evaluate(1000, 0)
        assert pressure.refuses(NORMAL) and not pressure.refuses(HIGH)
        try:
            pressure.admit(NORMAL, 10)
        except Denied as denied:
            refused = denied
        pressure.act()
    assert refused.reason == "pressure"
    rig.policy.events.deliver()
    assert ("critical", 950) in rig.kinds("threshold") and ("pressure", 10) in rig.kinds("denied")


def test_a_function_that_calls_for_another_round_gets_none():
    rig = Rig()
    called = []

    def give(level):
        called.append(level)
        rig.policy.pressure.act()
        return 0

    rig.policy.pressure.on_trim(give)
    rig.live(820)
    assert called == [1]


def test_while_it_lasts_no_budget_keeps_it_from_looking():
    rig = Rig()
    rig.live(500)
    rig.agent.governor.sample_mean_us = 8_000_000  # what a sample costs
    rig.live(500)
    assert rig.agent.poll() > 1000
    rig.board.ticks.pass_ms(60_000)
    rig.live(820)
    assert rig.agent.poll() <= 1000
    rig.live(600)
    assert rig.kinds("threshold") == [("warn", 820), ("clear", 600)]
    assert rig.agent.poll() > 1000
