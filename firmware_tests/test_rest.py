"""Between two things to do the agent rests: a poll looks at one deadline, the news and the link."""

from harness import raises
from rig import FakeLine, FakeTicks, in_next_sample, turn
from virtual_board import Rig, VirtualBoard
from warden.agent import Agent
from warden.clock import mask_of
from warden.costs import PARTS, cost

_BUSY_US = 8  # in `resting`


class Counting:
    """A rig whose agent's turns are counted: those in which it did more than to look."""

    def __init__(self, interval_ms=1000):
        self.rig = Rig(interval_ms=interval_ms)
        self.agent = self.rig.agent
        self.turns = 0
        self._advance = self.agent.clock.advance  # which each turn begins with
        self.agent.clock.advance = self._counted
        turn(self.agent)
        self.pass_ms(1)

    def _counted(self):
        self.turns += 1
        self._advance()

    def pass_ms(self, ms):
        """Let time pass, and return what one poll then says; the ms until there is more."""
        self.rig.board.ticks.pass_ms(ms)
        return self.agent.step(True)

    def did_something(self, ms=1):
        before = self.turns
        self.pass_ms(ms)
        return self.turns > before


def test_a_poll_with_nothing_due_does_nothing_and_says_when_there_is_more():
    made = Counting()
    made.turns = 0
    waits = [made.pass_ms(10) for _ in range(20)]
    assert made.turns == 0
    assert waits == [waits[0] - 10 * number for number in range(20)]
    assert made.did_something(waits[-1])
    assert made.agent.faults == 0


def test_a_sample_is_taken_in_time():
    made = Counting(interval_ms=100)
    uptimes = set()
    for _ in range(100):
        made.pass_ms(10)
        uptimes.add((made.agent.values[0], made.agent.values[1]))
    assert len(uptimes) >= 10, uptimes


def test_what_a_host_says_is_heard_at_once():
    made = Counting()
    made.rig.line.hear(64, 1, 0, 77)
    made.pass_ms(1)
    assert made.agent.session.host_id == 77
    assert made.did_something()  # what it is told begins with the next turn
    turn(made.agent)
    assert 5 in [message[0] for message in made.rig.line.told()]
    assert not made.did_something()


def test_an_event_a_lease_and_a_new_interval_are_looked_at_at_once():
    made = Counting()
    for happens in (
        lambda: made.rig.policy.events.post("lease", 1, "granted"),
        lambda: made.rig.policy.allocate(3, 10, ttl_ms=50),
        lambda: made.agent.start_monitoring(500),
    ):
        for _ in range(3):
            made.pass_ms(1)
        assert not made.did_something()
        happens()
        assert made.did_something()


def test_a_deadline_between_two_samples_is_kept():
    for ms in (0, 300, 900):  # of the second in which it is set
        made = Counting(interval_ms=600_000)
        made.pass_ms(ms + 1)
        lease = made.rig.policy.allocate(3, 10, ttl_ms=300)
        made.pass_ms(1)
        wait = made.pass_ms(1)
        assert wait <= 300, (ms, wait)
        made.pass_ms(wait - 5)
        assert lease.active
        made.pass_ms(6)
        assert not lease.active


def test_a_wrap_of_the_microseconds_does_not_make_it_rest_for_ever():
    ticks_wrap_ms = (1 << 30) // 1000
    for past in (ticks_wrap_ms // 2 - 100, ticks_wrap_ms // 2 + 100, ticks_wrap_ms - 100):
        made = Counting()
        assert made.did_something(past)


def test_a_host_that_must_be_told_everything_gets_a_few_frames_a_turn():
    rig = Rig()
    for index in range(12):
        rig.policy.allocate(3, 10 + index)
    rig.line.hear(64, 1, 0, 77)
    rig.agent.step(True)
    assert rig.line.told() == []  # to hear it was enough for one turn
    counts = []
    for _ in range(30):
        wait = rig.agent.step(True)
        counts.append(len(rig.line.told()))
        if counts[-1] == 0:
            break
        if b"\x01" in rig.agent.clock.news:
            assert 0 < wait <= 10, wait
    assert sum(counts) > 15
    assert max(counts) <= 3, counts  # two, and an ALIVE


def test_a_host_that_falls_silent_is_lost_in_time_although_samples_are_told():
    rig = Rig(interval_ms=100)
    agent = rig.agent
    rig.line.hear(64, 1, 0, 77)
    turn(agent)
    for _ in range(29):
        rig.line.told()
        rig.board.ticks.pass_ms(100)
        agent.step(True)
        assert agent.session.host_id == 77
        assert len(rig.line.told()) == 1
    rig.board.ticks.pass_ms(101)
    agent.step(True)
    assert agent.session.host_id == 0


def test_after_a_fault_of_its_own_it_tries_again_at_the_next_poll():
    line = FakeLine()
    board = VirtualBoard(0)
    assert isinstance(board.ticks, FakeTicks)
    agent = Agent(board, 1000, line)

    def fail():
        raise OSError("on purpose")

    in_next_sample(agent, fail)
    board.ticks.pass_ms(1001)
    assert agent.step(True) == 1000
    assert agent.faults == 1
    board.ticks.pass_ms(10)
    agent.step(True)
    assert agent.faults == 1
    assert agent.values[0] == 1


def test_a_sample_and_rows_do_not_go_out_in_the_same_turn_but_rows_wait_only_once():
    rig = Rig(interval_ms=20)
    rig.line.hear(64, 1, 0, 77)
    turn(rig.agent)
    rig.line.told()
    for _ in range(3):
        rig.policy.allocate(3, 10, ttl_ms=None)
    turns = []
    while len(turns) < 6:
        rig.board.ticks.pass_ms(25)  # a sample is due at each
        rig.agent.step(True)
        turns.append([message[0] for message in rig.line.told()])
    assert turns[0] == []
    assert 8 in turns[1], turns
    rows = [kind for kinds in turns for kind in kinds if kind == 8]
    assert len(rows) == 3, turns


class Slow(VirtualBoard):
    """A board on which each look at the clock takes 50 us."""

    def __init__(self):
        super().__init__()
        self.us = 0
        self.ticks_us = self._ticks_us

    def _ticks_us(self):
        self.us += 50
        return self.us & 0x3FFFFFFF


def test_polls_that_find_nothing_are_in_what_the_agent_says_it_takes():
    """One of them is timed, and counts for all: see plain.turn."""
    agent = Agent(Slow(), 1000, FakeLine(), budget_permille=1000)
    agent.stop_monitoring()
    agent.step(True)
    agent.resting[_BUSY_US] = 0
    for _ in range(101):
        agent.step(True)
    assert agent.resting[_BUSY_US] == 0  # not yet
    agent.news[0] = 1
    agent.step(True)
    busy_us = agent.resting[_BUSY_US]
    assert 101 * 50 <= busy_us <= 101 * 50 + 200, busy_us


def test_what_is_heard_while_it_rests_is_timed():
    line = FakeLine()
    agent = Agent(Slow(), 1000, line, budget_permille=1000)
    line.hear(64, 1, 0, 77)
    turn(agent)
    agent.step(True)
    agent.resting[_BUSY_US] = 0
    agent.uplink.sent += 1  # a keepalive that is not to be answered
    line.hear(66, 77, 3)
    agent.step(True)
    assert not agent.news[0]
    assert agent.resting[_BUSY_US] >= 50


class Failing(FakeLine):
    """A line that raises what the test says when it is read."""

    error = None
    agent = None
    inner = None

    def read(self, buf):
        if self.agent is not None:
            self.inner = self.agent.step(True)
        if self.error is not None:
            raise self.error
        return super().read(buf)


def test_a_line_that_raises_and_ctrl_c_while_it_is_read_lock_nothing():
    line = Failing()
    board = VirtualBoard()
    agent = Agent(board, 1000, line)
    agent.step(True)
    for error in (OSError(5), KeyboardInterrupt()):
        line.error = error
        try:
            agent.step(True)
        except KeyboardInterrupt:
            pass
        line.error = None
        before = agent.values[0]
        board.ticks.pass_ms(1100)
        agent.step(True)
        assert agent.values[0] > before, error
    assert agent.faults == 1


def test_a_step_inside_the_reading_of_the_line_does_nothing():
    line = Failing()
    agent = Agent(VirtualBoard(), 1000, line)
    line.agent = agent
    agent.step(True)
    assert line.inner == 10
    assert agent.step(True) > 10


def test_ticks_of_any_period_are_masked():
    for bits, mask in ((25, (1 << 25) - 1), (30, (1 << 30) - 1), (62, (1 << 30) - 1)):
        half = 1 << bits - 1

        def diff(end, start, half=half):
            return ((end - start + half) & (2 * half - 1)) - half

        assert mask_of(diff) == mask, bits


def test_ctrl_c_at_any_moment_of_a_poll_leaves_an_agent_that_goes_on():
    stopped = 0
    for due in (False, True):
        for after in range(1, 8):
            made = Counting()
            agent, ticks_us = made.agent, made.agent.ticks_us
            left = [after]

            def interrupted(left=left, ticks_us=ticks_us):
                left[0] -= 1
                if not left[0]:
                    raise KeyboardInterrupt
                return ticks_us()

            made.rig.board.ticks.pass_ms(1000 if due else 1)
            agent.news[0] = 1 if due else 0
            agent.resting[6] = 0  # so that the next one that finds nothing is timed
            agent.ticks_us = interrupted
            try:
                agent.step(True)
            except KeyboardInterrupt:
                stopped += 1
            agent.ticks_us = ticks_us
            assert made.did_something(1000), (due, after)
            assert agent.faults == 0
    assert stopped >= 4, stopped


def test_what_a_sample_costs_is_told_in_the_order_of_its_parts():
    board = VirtualBoard(0)
    agent = Agent(board, 1000, None)
    in_next_sample(agent, lambda: board.ticks.pass_ms(7))
    assert cost(agent) == [7000 if part == "network" else 0 for part in PARTS]
    assert cost(agent) == [0] * len(PARTS)


def test_a_sample_waits_for_the_end_of_the_frame_before_it():
    line = FakeLine()
    board = VirtualBoard(0)
    agent = Agent(board, 1000, line)
    line.hear(64, 1, 0, 77)
    turn(agent)
    line.told()
    for room in (5, 0, None):
        line.room = room
        board.ticks.pass_ms(500)
        line.hear(66, 77, agent.uplink.seq - 1 & 0xFFFF)
        agent.step(True)
        board.ticks.pass_ms(501)
        agent.step()
    told = line.told()
    seqs = [message[1] for message in told]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert len([message for message in told if message[0] in (3, 16)]) == 3, told
    assert agent.faults == 0


def test_ctrl_c_while_a_fault_is_counted_leaves_an_agent_that_goes_on():
    made = Counting()
    agent = made.agent
    advance, failed = agent.clock.advance, agent.failed

    def failing():
        raise ValueError

    def interrupted():
        raise KeyboardInterrupt

    agent.clock.advance, agent.failed = failing, interrupted
    agent.news[0] = 1
    raises(KeyboardInterrupt, agent.step, True)
    agent.clock.advance, agent.failed = advance, failed
    assert made.did_something(1000)


def test_it_never_says_that_nothing_is_due_for_longer_than_a_second():
    made = Counting(interval_ms=600_000)
    assert all(made.pass_ms(500) <= 1000 for _ in range(20))
