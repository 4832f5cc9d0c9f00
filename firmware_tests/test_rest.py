"""Between two things to do the agent rests: a poll looks at one deadline, one flag and the link."""

from figures import figure
from harness import raises
from rig import FakeLink, FakeTicks, in_next_sample, poll_all, poll_now
from virtual_board import Rig, VirtualBoard
from warden.setup import make_agent


class Counting:
    """A rig whose agent's turns are counted: the polls in which it did more than to look."""

    def __init__(self, interval_ms=1000):
        self.rig = Rig(interval_ms=interval_ms)
        self.agent = self.rig.agent
        self.turns = 0
        self._advance = self.agent.clock.advance  # which each turn begins with
        self.agent.clock.advance = self._counted
        poll_all(self.agent)
        self.pass_ms(1)

    def _counted(self):
        self.turns += 1
        self._advance()

    def pass_ms(self, ms):
        """Let time pass, and return what one poll then says; the ms until there is more."""
        self.rig.board.ticks.pass_ms(ms)
        return self.agent.poll()

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
        uptimes.add((figure(made.agent.sample, "uptime_s"), figure(made.agent.sample, "uptime_ms")))
    assert len(uptimes) >= 10, uptimes


def test_samples_keep_their_time_although_each_is_taken_a_little_late():
    made = Counting(interval_ms=100)
    sample = made.agent.sample
    uptimes = []
    for _ in range(100):
        made.pass_ms(7)
        uptime = figure(sample, "uptime_s") * 1000 + figure(sample, "uptime_ms")
        if uptime not in uptimes:
            uptimes.append(uptime)
    assert len(uptimes) == 8, uptimes
    assert all(uptime % 100 < 7 for uptime in uptimes), uptimes


def test_samples_that_were_missed_are_left_out_and_the_next_keeps_its_time():
    made = Counting(interval_ms=100)
    sample = made.agent.sample
    made.pass_ms(1_049)
    before = figure(sample, "uptime_s") * 1000 + figure(sample, "uptime_ms")
    assert before == 1_050
    assert made.pass_ms(49) == 1
    made.pass_ms(1)
    assert figure(sample, "uptime_s") * 1000 + figure(sample, "uptime_ms") == 1_100


def test_a_sample_that_comes_very_late_makes_an_event():
    for late_ms, events in ((2_900, 0), (3_100, 1)):
        made = Counting(interval_ms=1000)
        events_of = made.rig.policy.events
        before = events_of.seq
        made.pass_ms(late_ms)
        found = [events_of.event(number) for number in range(before, events_of.seq)]
        assert [event[1] for event in found] == ["agent"] * events, found
        if events:
            assert found[0][4:] == (None, "late", late_ms + 1 - 1000), found


def test_what_a_host_sends_is_read_at_once():
    made = Counting()
    made.rig.link.receive(64, 1, 0, 77)
    made.pass_ms(1)
    assert made.agent.session.host_id == 77
    poll_all(made.agent)
    assert 5 in [message[0] for message in made.rig.link.sent()]
    assert not made.did_something()


def test_an_event_a_lease_and_a_new_interval_are_looked_at_at_once():
    made = Counting()
    for happens in (
        lambda: made.rig.policy.events.post("lease", 1, "granted"),
        lambda: made.rig.allocate(3, 10, ttl_ms=50),
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
        lease = made.rig.allocate(3, 10, ttl_ms=300)
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


def test_a_wrap_of_the_milliseconds_does_not_make_it_rest_for_ever():
    rig = Rig(start_ms=(1 << 30) - 1500, interval_ms=1000)
    for _ in range(5):
        before = figure(rig.agent.sample, "uptime_s")
        rig.pass_ms(1000)
        assert figure(rig.agent.sample, "uptime_s") == before + 1


def test_a_host_that_must_be_sent_everything_gets_a_few_frames_a_turn():
    rig = Rig()
    for index in range(12):
        rig.allocate(3, 10 + index)
    rig.link.receive(64, 1, 0, 77)
    counts = []
    for _ in range(30):
        wait = rig.agent.poll()
        counts.append(len(rig.link.sent()))
        if wait > 10:
            break
        assert wait > 0
        rig.board.ticks.pass_ms(wait)
    assert sum(counts) > 15
    assert max(counts[1:]) <= 3, counts  # two rows, and SYNCED
    assert counts[0] <= 4, counts  # HELLO and the sample, too


def test_a_host_that_falls_silent_is_lost_in_time_although_samples_are_sent():
    rig = Rig(interval_ms=100)
    agent = rig.agent
    rig.link.receive(64, 1, 0, 77)
    poll_all(agent)
    for _ in range(29):
        rig.link.sent()
        rig.board.ticks.pass_ms(100)
        agent.poll()
        assert agent.session.host_id == 77
        assert len(rig.link.sent()) == 1
    rig.board.ticks.pass_ms(101)
    agent.poll()
    assert agent.session.host_id == 0


def test_after_a_fault_of_its_own_it_tries_again_a_second_later():
    link = FakeLink()
    board = VirtualBoard(0)
    assert isinstance(board.ticks, FakeTicks)
    agent = make_agent(board, 1000, 10, link)

    def fail():
        raise OSError("on purpose")

    in_next_sample(agent, fail)
    board.ticks.pass_ms(1001)
    assert agent.poll() == 1000
    assert agent.faults == 1
    board.ticks.pass_ms(1000)
    agent.poll()
    assert agent.faults == 1
    assert figure(agent.sample, "uptime_s") == 2


def test_a_fault_at_each_sample_keeps_nothing_from_ending_in_time():
    rig = Rig(interval_ms=1000)

    def fail(sample):
        raise OSError("on purpose")

    rig.agent.network.read = fail
    try:
        leases = [rig.allocate(3, 10, ttl_ms=ms) for ms in (500, 1500, 2250)]
        ends = []
        for _ in range(300):
            rig.board.ticks.pass_ms(10)
            rig.agent.poll()
            for lease in leases:
                if not lease.active and lease not in [each for _, each in ends]:
                    ends.append((rig.agent.clock.s * 1000 + rig.agent.clock.ms, lease))
        assert rig.agent.faults >= 2
        assert [ms for ms, _ in ends] == [500, 1500, 2250], ends
    finally:
        del rig.agent.network.read


def test_a_sample_and_rows_do_not_go_out_in_the_same_turn_but_rows_wait_only_once():
    rig = Rig(interval_ms=20)
    rig.link.receive(64, 1, 0, 77)
    poll_all(rig.agent)
    rig.link.sent()
    for _ in range(3):
        rig.allocate(3, 10, ttl_ms=None)
    turns = []
    while len(turns) < 6:
        rig.board.ticks.pass_ms(25)  # a sample is due at each
        for _ in range(2):
            wait = rig.agent.poll()
            turns.append([message[0] for message in rig.link.sent()])
            rig.board.ticks.pass_ms(wait if wait < 5 else 0)
    assert turns[0] == [16] or turns[0] == [3], turns
    assert turns[1] == [8, 8], turns
    for kinds in turns:
        assert not (8 in kinds and (16 in kinds or 3 in kinds)), turns
    assert sum([kinds.count(8) for kinds in turns]) == 3, turns


class Slow(VirtualBoard):
    """A board on which each look at the clock takes 50 us."""

    def __init__(self):
        super().__init__()
        self.us = 0
        self.ticks_us = self._ticks_us

    def _ticks_us(self):
        self.us += 50
        return self.us & 0x3FFFFFFF


class VerySlow(Slow):
    """A board on which each takes 2 ms, as a turn does at 25 MHz."""

    def _ticks_us(self):
        self.us += 2000
        return self.us & 0x3FFFFFFF


def test_a_host_that_used_up_its_share_gets_it_back():
    link = FakeLink()
    board = VerySlow()
    agent = make_agent(board, 600_000, 10, link)
    link.receive(64, 1, 0, 77)
    poll_all(agent)
    agent.governor.host_us = -3000
    for _ in range(20):
        board.ticks.pass_ms(100)
        agent.poll()
    assert agent.governor.host_us > 0, agent.governor.host_us


def test_a_host_that_has_had_its_share_waits_for_more_and_then_is_read_at_once():
    link = FakeLink()
    board = VirtualBoard()
    agent = make_agent(board, 600_000, 10, link)
    link.receive(64, 1, 0, 77)
    poll_all(agent)
    agent.governor.host_us = -1500
    agent.clock.rows_dirty = True
    wait = agent.governor.host_wait_ms()
    assert wait > 100 and poll_now(agent) >= wait, agent.rest_ms
    assert agent.listen_ms == wait
    board.ticks.pass_ms(wait)
    agent.clock.rows_dirty = False
    agent.poll()  # nothing has come
    assert agent.listen_ms == 0
    link.receive(66, 77, None)
    board.ticks.pass_ms(1)
    agent.poll()
    assert not link.readable()


def test_polls_that_find_nothing_are_in_what_the_agent_says_it_takes():
    """They do not time themselves: sixteen at the start say what one costs."""
    board = Slow()
    ticks_ms = board.ticks_ms

    def slow_ticks_ms():  # which each poll looks at
        board.us += 50
        return ticks_ms()

    board.ticks_ms = slow_ticks_ms
    agent = make_agent(board, 1000, 1000, FakeLink())
    board.ticks.pass_ms(1000)
    agent.poll()
    idle = figure(agent.sample, "overhead_permille")
    for _ in range(2000):
        agent.poll()
    board.ticks.pass_ms(1000)
    agent.poll()
    # 2000 polls of 50 us in a second are a tenth of it.
    assert 95 <= figure(agent.sample, "overhead_permille") - idle <= 110, figure(
        agent.sample, "overhead_permille"
    )


def test_what_is_read_while_it_rests_is_timed():
    link = FakeLink()
    agent = make_agent(Slow(), 1000, 1000, link)
    link.receive(64, 1, 0, 77)
    poll_all(agent)
    agent.poll()
    before = agent.governor.spent_us
    link.receive(66, 77, 3)
    agent.poll()
    assert agent.governor.spent_us >= before + 50


class Failing(FakeLink):
    """A link that raises what the test says when it is read."""

    error = None
    agent = None
    inner = None

    def readable(self):
        return True

    def read(self, buf):
        if self.agent is not None:
            self.inner = self.agent.poll()
        if self.error is not None:
            raise self.error
        return super().read(buf)


def test_a_link_that_raises_and_ctrl_c_while_it_is_read_lock_nothing():
    link = Failing()
    board = VirtualBoard()
    agent = make_agent(board, 1000, 10, link)
    for error in (OSError(5), KeyboardInterrupt()):
        link.error = error
        try:
            agent.poll()
        except KeyboardInterrupt:
            pass
        link.error = None
        before = figure(agent.sample, "uptime_s")
        board.ticks.pass_ms(1100)
        agent.poll()
        assert figure(agent.sample, "uptime_s") > before, error
    assert agent.faults == 1


def test_a_link_that_always_raises_keeps_the_board_from_nothing():
    rig = Rig(interval_ms=1000)
    link = Failing()
    link.error = OSError(5)

    def fail():
        raise OSError(5)

    rig.agent.session.link = rig.agent.link = link
    rig.agent.readable = fail
    lease = rig.allocate(3, 10, ttl_ms=1500)
    for second in range(1, 5):
        for _ in range(100):
            rig.board.ticks.pass_ms(10)
            rig.agent.poll()
        assert figure(rig.agent.sample, "uptime_s") == second
        assert lease.active == (second < 2)
    assert 4 <= rig.agent.faults <= 12, rig.agent.faults


def test_a_collection_between_two_samples_does_not_make_samples_free():
    board = Slow()
    agent = make_agent(board, 1000, 10)
    for _ in range(5):
        agent.memory.spent_us += 20_000  # by a lease, or to relieve pressure
        agent.storage.spent_us += 20_000  # as the application scanned it
        board.ticks.pass_ms(1000)
        agent.poll()
        assert agent.governor.sample_us > 0
    assert agent.governor.sample_mean_us > 0


def test_what_was_spent_while_monitoring_is_stopped_is_in_no_sample():
    made = Counting()
    agent = made.agent
    governor = agent.governor
    agent.stop_monitoring()
    poll_now(agent)
    agent.idle_polls = governor.spent_us = governor.host_spent_us = 1_000_000
    run_due = agent.run_due
    found = []

    def counted():
        run_due()
        found.append((agent.idle_polls, governor.spent_us, governor.host_spent_us))

    agent.run_due = counted
    poll_now(agent)
    assert found == [(0, 0, 0)]
    sample = agent.sample
    assert (figure(sample, "interval_ms"), figure(sample, "wanted_interval_ms")) == (0, 0)


def test_a_poll_inside_one_that_takes_long_does_nothing():
    board = VirtualBoard()
    agent = make_agent(board, 1000, 10)
    inner = []

    def scan():
        board.ticks.pass_ms(6000)
        inner.append(agent.poll())

    in_next_sample(agent, scan)
    board.ticks.pass_ms(1000)
    agent.poll()
    assert inner == [10]
    assert agent.faults == 0


def test_a_poll_inside_the_reading_of_the_link_does_nothing():
    link = Failing()
    agent = make_agent(VirtualBoard(), 1000, 10, link)
    link.agent = agent
    assert agent.poll() > 10
    assert link.inner == 10


def test_ctrl_c_at_any_moment_of_a_poll_leaves_an_agent_that_goes_on():
    stopped = 0
    for due in (False, True):
        for after in range(1, 12):
            made = Counting()
            agent = made.agent
            ticks_us = agent.ticks_us
            left = [after]

            def interrupted(left=left, ticks_us=ticks_us):
                left[0] -= 1
                if not left[0]:
                    raise KeyboardInterrupt
                return ticks_us()

            made.rig.board.ticks.pass_ms(1000 if due else 1)
            agent.clock.poll_now = not due
            agent.ticks_us = interrupted
            try:
                agent.poll()
            except KeyboardInterrupt:
                stopped += 1
            agent.ticks_us = ticks_us
            assert made.did_something(1000), (due, after)
            assert agent.faults == 0
            assert not agent.threads.locked()
    assert stopped >= 4, stopped


def test_a_sample_waits_for_the_end_of_the_frame_before_it():
    link = FakeLink()
    board = VirtualBoard(0)
    agent = make_agent(board, 1000, 10, link)
    link.receive(64, 1, 0, 77)
    poll_all(agent)
    link.sent()
    for room in (5, 0, None):
        link.room = room
        board.ticks.pass_ms(500)
        link.receive(66, 77, agent.session.uplink.seq - 1 & 0xFFFF)
        agent.poll()
        board.ticks.pass_ms(501)
        agent.poll()
    sent = link.sent()
    seqs = [message[1] for message in sent]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert len([message for message in sent if message[0] in (3, 16)]) == 3, sent
    assert agent.faults == 0


def test_ctrl_c_while_a_fault_is_handled_leaves_an_agent_that_goes_on():
    made = Counting()
    agent = made.agent
    advance = agent.clock.advance

    def failing():
        raise ValueError

    agent.clock.advance = failing
    poll_now(agent)
    assert agent.faults == 1
    ticks_us = agent.ticks_us
    calls = []

    def interrupted():
        calls.append(1)
        if len(calls) > 1:  # after the fault
            raise KeyboardInterrupt
        return ticks_us()

    agent.ticks_us = interrupted
    agent.clock.poll_now = True
    raises(KeyboardInterrupt, agent.poll)
    agent.ticks_us = ticks_us
    agent.clock.advance = advance
    assert made.did_something(1000)


def test_the_next_deadline_is_at_most_a_minute_away():
    made = Counting(interval_ms=600_000)
    assert all(made.pass_ms(50_000) <= 60_000 for _ in range(20))


class Plain:
    """A link as docs/guides/link.md has it: without readable()."""

    waitable = None
    window = 0

    def __init__(self):
        self.inner = FakeLink()

    def read(self, buf):
        return self.inner.read(buf)

    def write(self, buf, start, end):
        return self.inner.write(buf, start, end)

    def close(self):
        pass


def test_a_link_that_cannot_tell_whether_something_has_arrived_is_read():
    link = Plain()
    agent = make_agent(VirtualBoard(), 1000, 10, link)
    link.inner.receive(64, 1, 3, 77)
    agent.poll()
    assert link.inner.sent()[0][0] == 1
