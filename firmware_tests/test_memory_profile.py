"""How much memory operations take, learned from those that ran alone."""

from harness import no_heap, raises
from rig import PressedBoard
from warden.agent import Agent
from warden.errors import Denied
from warden.policy.memory_profile import MemoryProfile

LEARNED = -1
WAITING, ACTIVE = 0, 1


class Rig:
    """An agent over a heap that the test sets, its clock too; measurements cost nothing here."""

    def __init__(self):
        self.board = PressedBoard()
        self.agent = Agent(self.board, 1000, limits=(4, 300_000, 100, 5000))
        self.policy = self.agent.policy
        self.profile = self.policy.profile

    def begin(self, name, memory=None, wait_ms=0):
        op = self.policy.operations.new(name, memory=memory, wait_ms=wait_ms)
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

    def learned(self):
        return [
            (need.name, need.count, need.typical_bytes, need.worst_bytes)
            for need in self.profile.rows
            if need is not None
        ]


def test_typical_and_worst_are_learned_by_name():
    rig = Rig()
    for grows in (1000, 3000):
        rig.run("upload", grows)
    rig.run("flash", 500)
    assert rig.learned() == [("upload", 2, 2000, 3000), ("flash", 1, 500, 500)]
    for _ in range(20):
        rig.run("upload", 1000)
    assert rig.learned()[0][2] < 1100  # the typical one follows, the worst stays
    assert rig.learned()[0][3] == 3000


def test_memory_used_only_during_the_operation_counts():
    rig = Rig()
    rig.run("upload", 1000, sample=4000)
    assert rig.learned() == [("upload", 1, 5000, 5000)]


def test_overlapping_operations_are_not_learned():
    rig = Rig()
    first = rig.begin("first")
    rig.board.garbage += 1000
    second = rig.begin("second")
    first.complete()
    second.complete()
    assert rig.learned() == []
    rig.run("alone", 10)
    assert rig.learned() == [("alone", 1, 10, 10)]


def test_of_those_that_learn_one_runs_at_a_time_until_it_is_known():
    rig = Rig()
    first = rig.begin("request", LEARNED)
    other = rig.begin("other")  # which does not learn, and is not learned meanwhile
    denied = raises(Denied, rig.begin, "request", LEARNED)
    assert denied.reason == "learning"
    denied = raises(Denied, rig.begin, "another", LEARNED)  # or it would be measured with that
    waits = [rig.begin("request", LEARNED, 5000) for _ in range(2)]
    assert [op.state for op in waits] == [WAITING, WAITING]
    new = rig.policy.operations.new("alarm", 2, memory=LEARNED)
    rig.policy.operations.begin(new)  # HIGH waits for nobody
    rig.board.garbage += 5000
    new.complete()
    other.complete()
    assert rig.learned() == []
    first.complete()
    assert rig.learned() == [("request", 1, 5000, 5000)]
    assert [(op.state, op.memory) for op in waits] == [(ACTIVE, 5000)] * 2
    assert [lease.amount for lease in rig.policy.leases.all()] == [5000, 5000]
    assert rig.begin("request", LEARNED).memory == 5000


def test_one_that_learns_is_learned_whatever_is_collected_meanwhile():
    rig = Rig()
    op = rig.begin("request", LEARNED)
    rig.board.garbage += 5000
    rig.board.ticks.pass_ms(1000)
    rig.agent.poll()
    rig.agent.memory.collect(0)
    op.complete()
    assert rig.learned() == [("request", 1, 5000, 5000)]


def test_one_that_runs_out_of_memory_raises_what_is_expected():
    rig = Rig()
    rig.run("request", 5000)
    rig.run("empty", 0)
    for name in ("request", "empty"):
        for error in (ValueError, MemoryError):
            try:
                with rig.policy.operations.new(name, memory=LEARNED):
                    raise error
            except error:
                pass
    assert [need[3] for need in rig.learned()] == [6250, 1024]
    with rig.policy.operations.new("request", memory=LEARNED) as op:
        assert op.memory == 6250
    for _ in range(20):
        rig.profile.failed(op)
    assert rig.learned()[0][3] == 100_000  # half of the heap at most


def test_a_collection_meanwhile_makes_it_unknown():
    rig = Rig()
    op = rig.begin("upload")
    rig.board.garbage += 5000
    rig.agent.memory.collect(0)
    rig.board.garbage += 100
    op.complete()
    op = rig.begin("upload")
    rig.board.live -= 100  # one that was not seen
    op.complete()
    assert rig.learned() == []


def test_after_a_measurement_there_is_a_pause_of_200_times_its_cost():
    rig = Rig()
    measure = rig.board.mem_free

    def slowly():
        rig.board.ticks.pass_ms(10)
        return measure()

    rig.board.mem_free = slowly
    rig.run("upload", 100)
    rig.run("upload", 100)
    assert rig.learned()[0][1] == 1
    rig.board.mem_free = measure
    rig.board.ticks.pass_ms(3900)
    rig.agent.clock.advance()
    rig.run("upload", 100)
    assert rig.learned()[0][1] == 1
    rig.board.ticks.pass_ms(200)
    rig.agent.clock.advance()
    rig.run("upload", 100)
    assert rig.learned()[0][1] == 2


def test_admission_uses_it_when_asked_to():
    rig = Rig()
    first = rig.begin("upload", LEARNED)
    assert first.lease is None and first.memory is None  # nothing is known yet
    first.complete()
    rig.run("upload", 8000)
    op = rig.begin("upload", LEARNED)
    assert op.lease.amount == 8000
    op.complete()
    assert rig.begin("upload").lease is None  # nobody asked


def test_the_table_has_a_fixed_size():
    rig = Rig()
    for number in range(10):
        rig.run("name %d" % number, 10)
    assert [row[0] for row in rig.learned()] == ["name %d" % number for number in range(8)]
    rig.run("name 3", 30)
    assert rig.learned()[3][1] == 2
    assert rig.profile.expected("name 3") == 30
    assert rig.profile.expected("name 9") is None


def test_an_operation_that_only_waited_is_not_counted():
    rig = Rig()
    rig.policy.set_limits(1, None, None, None)
    op = rig.begin("first")
    waiting = rig.begin("second", wait_ms=1000)
    waiting.complete()
    op.complete()
    rig.run("alone", 10)
    assert rig.learned() == [("first", 1, 0, 0), ("alone", 1, 10, 10)]


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
    learns = 0


def test_with_no_memory_left_it_is_learned_another_time_on_micropython():
    rig = Rig()
    rig.board.ticks_us = rig.board.ticks_diff = _no_ticks
    profile = MemoryProfile(rig.policy)
    op = Op()
    with no_heap():
        profile.began(op)
        profile.ended(op)
        assert profile.expected("upload") == LEARNED  # not known yet
    profile.began(op)
    profile.ended(op)
    with no_heap():
        profile.began(op)
        profile.ended(op)
        assert profile.rows[0].count == 2
