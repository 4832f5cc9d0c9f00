"""How much memory operations take, learned for `memory=LEARNED`, and what is granted by that."""

from harness import no_heap, raises
from rig import PressedBoard
from usual import new_operation
from warden.errors import Denied
from warden.policy.memory_profile import MemoryProfile
from warden.setup import make_agent

LEARNED = -1
WAITING, ACTIVE = 0, 1


class Rig:
    """An agent over a heap that the test sets, its clock too; measurements cost nothing here."""

    def __init__(self):
        self.board = PressedBoard()
        self.agent = make_agent(self.board, 1000, limits=(4, 300_000, 100, 5000))
        self.policy = self.agent.policy

    def begin(self, name, memory=LEARNED, wait_ms=0, priority=1):
        op = new_operation(self.policy.operations, name, priority, memory=memory, wait_ms=wait_ms)
        return self.policy.operations.begin(op)

    def run(self, name, grows, sample=0):
        """Run an operation that allocates so much, `sample` bytes of it there at a sample only."""
        op = self.begin(name)
        self.board.garbage += grows + sample
        if sample:
            self.board.ticks.pass_ms(1000)
            self.agent.poll()
            self.board.garbage -= sample
        op.complete()

    def fail(self, name):
        """Run an operation that ends by MemoryError."""
        try:
            with new_operation(self.policy.operations, name, memory=LEARNED):
                raise MemoryError
        except MemoryError:
            pass

    def learned(self):
        return [
            (need.name, need.count, need.typical_bytes, need.worst_bytes)
            for need in self.policy.profile.rows
            if need is not None
        ]

    def worst(self):
        return self.learned()[0][3]

    def cost_ms(self, ms):
        """Have each collection take so long from now on."""
        collect = self.board.collect

        def slowly():
            self.board.ticks.pass_ms(ms)
            return collect()

        self.board.collect = slowly


def test_nothing_is_learned_of_those_that_do_not_ask():
    rig = Rig()
    rig.begin("upload", None).complete()
    assert rig.policy.profile is None
    rig.run("upload", 100)
    rig.begin("other", None).complete()
    assert rig.learned() == [("upload", 1, 100, 100)]


def test_typical_and_worst_are_learned_by_name():
    rig = Rig()
    for grows in (1000, 3000):
        rig.run("upload", grows)
    rig.run("flash", 500)
    assert rig.learned() == [("upload", 2, 2000, 3000), ("flash", 1, 500, 500)]


def test_a_figure_that_is_too_high_falls_to_what_is_found():
    rig = Rig()
    rig.run("request", 50_000)
    for _ in range(100):
        rig.run("request", 1000)
    assert 1000 <= rig.worst() < 4000
    rig.run("request", 50_000)
    assert rig.worst() == 50_000


def test_what_is_granted_to_one_that_is_known_lasts_as_long_as_it_may_run():
    rig = Rig()
    rig.run("request", 5000)
    assert rig.begin("request").lease.left_ms == 300_000
    op = new_operation(rig.policy.operations, "request", 1, 7000, LEARNED)
    assert rig.policy.operations.begin(op).lease.left_ms == 7000


def test_where_all_leases_are_granted_that_is_the_reason_why_one_that_is_known_is_refused():
    rig = Rig()
    rig.run("request", 5000)
    allocate = rig.policy.leases.allocate
    leases = [allocate(0, 1, "x", 1, 1000 + number, None) for number in range(16)]
    denied = raises(Denied, rig.begin, "request")
    assert (denied.reason, denied.retry_after_ms) == ("table", 1000)
    assert sorted(denied.blockers) == [lease.id for lease in leases]
    op = rig.begin("request", wait_ms=500)
    assert op.state == WAITING
    leases[0].release()
    assert rig.policy.operations.poll_admission(op)


def test_memory_used_only_during_the_operation_counts():
    rig = Rig()
    rig.run("upload", 1000, sample=4000)
    assert rig.learned() == [("upload", 1, 5000, 5000)]


def test_of_those_that_learn_one_runs_at_a_time_until_it_is_known():
    rig = Rig()
    first = rig.begin("request")
    other = rig.begin("other", None)  # which does not learn, and is not learned meanwhile
    denied = raises(Denied, rig.begin, "request")
    assert denied.reason == "learning"
    denied = raises(Denied, rig.begin, "another")  # or it would be measured with that
    waits = [rig.begin("request", wait_ms=5000) for _ in range(2)]
    assert [op.state for op in waits] == [WAITING, WAITING]
    high = rig.begin("alarm", priority=2)  # HIGH waits for nobody
    rig.board.garbage += 5000
    high.complete()
    other.complete()
    assert rig.learned() == []
    first.complete()
    assert rig.learned() == [("request", 1, 5000, 5000)]
    assert [(op.state, op.memory) for op in waits] == [(ACTIVE, 5000)] * 2
    assert [lease.amount for lease in rig.policy.leases.all()] == [5000, 5000]
    assert rig.begin("request").memory == 5000


def test_one_that_does_not_end_keeps_no_other_from_learning_for_long():
    rig = Rig()
    server = rig.begin("server")
    rig.board.ticks.pass_ms(29_000)
    rig.agent.poll()
    assert raises(Denied, rig.begin, "upload").reason == "learning"
    waiting = rig.begin("upload", wait_ms=5000)
    assert waiting.state == WAITING
    rig.board.ticks.pass_ms(1500)
    rig.agent.poll()
    assert rig.policy.operations.poll_admission(waiting)
    assert raises(Denied, rig.begin, "other").reason == "learning"  # now that one learns
    rig.board.garbage += 3000
    waiting.complete()
    assert rig.learned() == [("upload", 1, 3000, 3000)]
    server.complete()
    assert len(rig.learned()) == 1  # what it took beside the others is not known


def test_one_that_takes_long_is_learned_though_known_ones_begin_meanwhile():
    rig = Rig()
    rig.run("request", 1000)
    upload = rig.begin("upload")
    rig.board.garbage += 3000
    rig.board.ticks.pass_ms(40_000)
    rig.agent.poll()
    rig.begin("request").complete()
    upload.complete()
    assert rig.learned()[1] == ("upload", 1, 3000, 3000)


def test_one_inside_another_in_one_task_does_not_wait_for_itself():
    rig = Rig()
    operations = rig.policy.operations
    task, another = object(), object()
    outer = operations.begin(new_operation(operations, "outer", memory=LEARNED), task)
    inner = operations.begin(new_operation(operations, "inner", memory=LEARNED), task)
    late = new_operation(operations, "late", memory=LEARNED)
    assert raises(Denied, operations.begin, late, another).reason == "learning"
    rig.board.garbage += 500
    inner.complete()
    outer.complete()
    assert rig.learned() == [("outer", 1, 500, 500)]
    rig.run("inner", 200)
    assert rig.learned()[1] == ("inner", 1, 200, 200)


def test_once_known_those_that_overlap_are_not_refused_where_there_is_room():
    """A server of four requests of 9 KB at once, each garbage when it ends, on 200 KB of heap."""
    rig = Rig()
    rig.run("request", 9000)
    rig.cost_ms(20)  # so that a collection is made each 400 ms at most, and one in 80 requests
    for _ in range(100):
        ops = [rig.begin("request") for _ in range(4)]
        for op in ops:
            rig.board.garbage += 9000
            rig.board.ticks.pass_ms(1)
            if rig.board.garbage > 150_000:  # the runtime's own
                rig.board.garbage = 0
            op.complete()
    assert rig.worst() == 9000


def test_those_that_fail_at_once_raise_what_is_expected_once():
    rig = Rig()
    rig.run("request", 8000)
    rig.run("empty", 0)
    ops = [rig.begin("request") for _ in range(4)]
    for op in ops:
        op.__exit__(MemoryError, None, None)
    assert rig.worst() == 10_000
    rig.fail("request")
    assert rig.worst() == 12_500
    rig.fail("empty")
    assert rig.learned()[1][3] == 1024
    for _ in range(40):
        rig.fail("request")
    assert rig.worst() <= 100_000  # half of the heap at most


def test_what_is_more_than_there_is_is_tried_again_after_a_while():
    rig = Rig()
    rig.run("request", 50_000)
    rig.board.live += 90_000
    for _ in range(20):
        denied = raises(Denied, rig.begin, "request")
        assert denied.reason == "memory"
    assert rig.worst() > 45_000  # however often it is tried
    for _ in range(40):
        rig.board.ticks.pass_ms(1001)
        try:
            op = rig.begin("request")
        except Denied:
            continue
        op.complete()
        return
    raise AssertionError("refused for ever")


def test_it_waits_for_memory_until_another_one_ends():
    rig = Rig()
    rig.run("upload", 80_000)
    first = rig.begin("upload")
    denied = raises(Denied, rig.begin, "upload")
    assert (denied.reason, denied.blockers) == ("memory", (first.id,))
    second = rig.begin("upload", wait_ms=5000)
    assert second.state == WAITING and second.lease is None
    first.complete()
    assert second.state == ACTIVE and second.lease.amount == 80_000
    second.complete()
    assert rig.policy.leases.all() == []


def test_one_that_waits_is_admitted_when_memory_is_given_back_and_nothing_ends():
    rig = Rig()
    rig.run("upload", 80_000)
    rig.board.live += 90_000
    op = rig.begin("upload", wait_ms=5000)
    assert not rig.policy.operations.poll_admission(op)
    rig.board.live -= 90_000
    assert rig.policy.operations.poll_admission(op)


def test_where_it_is_not_known_what_is_live_one_that_waits_is_tried_by_what_is_used():
    rig = Rig()
    rig.run("upload", 80_000)
    rig.board.live += 90_000
    rig.begin("upload", wait_ms=5000)
    operations = rig.policy.operations
    memory = rig.agent.memory
    memory.live = None
    for free, is_tried in ((20_000, False), (190_000, True)):
        memory.free = free
        operations.leases_ended = 0
        operations.evaluate()
        assert (operations.leases_ended == -1) == is_tried, free


def test_one_that_learns_is_learned_whatever_is_collected_meanwhile():
    rig = Rig()
    op = rig.begin("request")
    rig.board.garbage += 5000
    rig.board.ticks.pass_ms(1000)
    rig.agent.poll()
    rig.agent.memory.collect(0)
    op.complete()
    assert rig.learned() == [("request", 1, 5000, 5000)]


def test_a_known_one_is_not_measured_beside_another_or_a_collection():
    rig = Rig()
    rig.run("upload", 1000)
    op = rig.begin("upload")
    rig.board.garbage += 5000
    rig.agent.memory.collect(0)
    op.complete()
    op = rig.begin("upload")
    rig.board.live -= 100  # one that was not seen
    op.complete()
    ops = [rig.begin("upload") for _ in range(2)]
    rig.board.garbage += 7000
    for op in ops:
        op.complete()
    assert rig.learned() == [("upload", 1, 1000, 1000)]


def test_after_a_measurement_there_is_a_pause_of_200_times_its_cost():
    rig = Rig()
    rig.cost_ms(20)
    rig.agent.memory.cost_us = 20_000  # as all before took
    rig.run("upload", 100)
    rig.run("upload", 100)
    assert rig.learned()[0][1] == 1
    for ms, count in ((7900, 1), (200, 2)):
        rig.board.ticks.pass_ms(ms)
        rig.agent.clock.advance()
        rig.run("upload", 100)
        assert rig.learned()[0][1] == count


def test_a_measurement_during_which_something_else_had_the_core_makes_no_long_pause():
    rig = Rig()
    rig.run("upload", 50_000)
    collect = rig.board.collect
    rig.cost_ms(5000)
    rig.run("upload", 1000)
    rig.board.collect = collect
    before = rig.worst()
    for _ in range(60):  # seconds
        rig.board.ticks.pass_ms(1000)
        rig.agent.poll()
        rig.run("upload", 1000)
    assert rig.worst() < before // 2, (before, rig.worst())


def test_the_table_has_a_fixed_size():
    rig = Rig()
    for number in range(10):
        rig.run("name %d" % number, 10)
    assert [row[0] for row in rig.learned()] == ["name %d" % number for number in range(8)]
    rig.run("name 3", 30)
    assert rig.learned()[3][1:] == (2, 20, 30)
    op = rig.begin("name 9")
    assert (op.state, op.memory, op.learns) == (ACTIVE, None, 0)  # it never will be known


def test_a_sample_allocates_nothing():
    rig = Rig()
    rig.begin("upload")
    with no_heap():
        rig.policy.evaluate(1000, 0)


def _no_ticks(end=0, start=0):
    """Stand for ticks: those that are set by hand allocate on 32 bits."""
    return 0


class Op:
    name = "upload"
    learns = 2


def test_with_no_memory_left_it_is_learned_another_time_on_micropython():
    rig = Rig()
    rig.board.ticks_us = rig.board.ticks_diff = _no_ticks
    rig.board.collect = _no_ticks
    profile = MemoryProfile(rig.policy)
    op = Op()
    with no_heap():
        profile.began(op)
        profile.ended(op)
        assert profile.rows[0] is None  # not known yet
    for _ in range(2):
        profile.began(op)
        profile.ended(op)
    with no_heap():
        profile.began(op)
        profile.ended(op)
    assert profile.rows[0].count == 3
