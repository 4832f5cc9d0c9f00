"""Events: a ring of fixed size that needs no memory, and callbacks outside all locks."""

import warden
from harness import no_heap, raises
from rig import FakeLink, FakeTicks, board
from virtual_board import Rig
from warden.policy.events import Events
from warden.running import running_policy
from warden.sensors.threads import new_lock
from warden.setup import make_clock
from warden.uplink import Uplink


def _events():
    return Events(make_clock(FakeTicks()), None, new_lock())


def test_an_event_has_kind_time_and_value():
    events = _events()
    events.clock.s = 7
    events.post("trim", 0, "cache", 4096)
    assert events.event(0) == (0, "trim", 7, 0, 0, "cache", 4096)


def test_posting_an_event_allocates_nothing():
    events = Events(make_clock(board()), None, new_lock())  # whose clock takes no memory either
    with no_heap():
        for number in range(40):
            events.post("lease", number, "released", 100)
    assert events.event(39)[4] == 39


def test_the_ring_holds_the_last_sixteen():
    events = _events()
    for number in range(20):
        events.post("lease", number)
    assert events.event(0)[0] == 4
    assert [events.event(number)[4] for number in range(4, 20)] == list(range(4, 20))


def test_callbacks_get_their_kind_of_event_once_and_in_order():
    events = _events()
    leases, all_of_them = [], []
    events.on("lease", leases.append)
    events.on(None, all_of_them.append)
    events.post("lease", 1)
    events.post("operation", 2)
    events.deliver()
    events.deliver()
    assert [event[4] for event in leases] == [1]
    assert [event[4] for event in all_of_them] == [1, 2]


def test_a_late_callback_gets_the_last_sixteen_events():
    events = _events()
    heard = []
    events.on(None, heard.append)
    for number in range(30):
        events.post("lease", number)
    events.deliver()
    assert [event[0] for event in heard] == list(range(14, 30))


def test_a_callback_that_raises_is_reported_and_the_others_run():
    events = _events()
    heard = []

    def fail(event):
        raise ValueError("on purpose")

    events.on(None, fail)
    events.on(None, heard.append)
    events.post("lease", 7)
    events.deliver()
    kinds = [(event[1], event[4], event[5]) for event in heard]
    assert kinds == [("lease", 7, None), ("callback_failed", 0, "ValueError")]


def test_a_callback_that_posts_and_delivers_is_not_called_inside_itself():
    policy = Rig(link=None).policy
    events = policy.events
    inside = []
    deepest = []
    before = events.seq

    def again(event):
        inside.append(event[0])
        deepest.append(len(inside))
        if event[0] < before + 3:
            events.post("lease")
            policy.gate.enter()
        inside.pop()

    events.on(None, again)
    events.post("lease")
    policy.gate.enter()
    assert deepest == [1, 1, 1, 1]


def test_a_callback_that_makes_its_own_event_happen_lets_the_application_go_on():
    events = _events()
    heard = []

    def again(event):
        heard.append(event[0])
        assert len(heard) < 1000
        events.post("lease")

    events.on("lease", again)
    events.post("lease")
    events.deliver()
    before = len(heard)
    events.deliver()
    assert 0 < before < len(heard) and heard == list(range(len(heard)))


def test_there_are_eight_callbacks_at_most():
    events = _events()
    for _ in range(8):
        events.on(None, lambda event: None)
    raises(ValueError, events.on, None, print)


def test_a_callback_that_a_restarted_main_sets_again_is_there_once():
    events = _events()
    heard = []

    class Application:
        def on_event(self, event):
            heard.append(event[0])

    application = Application()
    for _ in range(20):
        events.on("lease", application.on_event)
        events.on(None, len)
    assert len(events.callbacks) == 2
    events.post("lease", 1)
    events.deliver()
    assert heard == [0]


def test_an_interrupted_delivery_delivers_no_event_twice():
    events = _events()
    heard = []

    def interrupted(event):
        heard.append(event[0])
        raise KeyboardInterrupt

    events.on(None, interrupted)
    events.post("lease", 1)
    events.post("lease", 2)
    raises(KeyboardInterrupt, events.deliver)
    raises(KeyboardInterrupt, events.deliver)
    events.deliver()
    assert heard == [0, 1]


class Subscribed:
    """Stands in for a host's session that wants events from a number on."""

    def __init__(self, events_from):
        self.events_from = events_from


def _sent(events, events_from):
    """Return the events that a host gets which subscribes now."""
    link = FakeLink()
    uplink = Uplink(link)
    events.session = Subscribed(events_from)
    events.subscribe()
    for _ in range(40):
        if not events.dirty[0]:
            break
        events.dirty[0] = 0
        if events.encode(0, uplink):
            assert uplink.send()
            events.on_sent(0)
    return [message[2:] for message in link.sent()]


def test_a_host_gets_events_from_the_wanted_or_the_oldest_stored_one():
    events = _events()
    assert _sent(events, None) == []
    for number in range(20):
        events.post("lease", number, "released", 10)
    for events_from, first in ((None, 4), (0, 4), (-5, 4), (7, 7), (19, 19)):
        sent = _sent(events, events_from)
        assert [event[0] for event in sent] == list(range(first, 20)), events_from
        assert sent[-1] == [19, "lease", 0, 0, 19, "released", 10]
    for events_from in (20, 1 << 40):
        assert _sent(events, events_from) == []


def test_the_longest_detail_fits_a_frame():
    events = _events()
    events.post("policy", (1 << 30) - 1, "\U0001f40d" * 50, 1 << 40)
    assert _sent(events, None)[0][5] == "\U0001f40d" * 8


def test_an_async_function_is_no_callback_on_micropython():
    async def function(event):
        """Nobody would await it."""

    warden.start(link=False)
    try:
        raises(TypeError, warden.on, "threshold", function)
        raises(TypeError, warden.on_trim, function)
        raises(TypeError, warden.allocate, 2, 10, on_preempt=function)
        assert running_policy().events.callbacks == [] and warden.allocations() == []
        warden.on("threshold", print)
        warden.allocate(2, 10, on_preempt=print).release()
    finally:
        warden.stop()


def test_a_callback_that_raises_what_ends_a_task_is_reported_as_others_are():
    class CancelledError(BaseException):
        """As asyncio has it: it would end the task that runs the agent."""

    def cancelled(event):
        raise CancelledError

    events = _events()
    heard = []
    events.on("lease", cancelled)
    events.on("callback_failed", lambda event: heard.append(event[5]))
    events.post("lease", 1)
    events.deliver()
    assert heard == ["CancelledError"]
    for kind in (KeyboardInterrupt, SystemExit):  # these are meant for the application
        events = _events()

        def stop(event):
            raise kind  # noqa: B023, called below

        events.on("lease", stop)
        events.post("lease", 1)
        raises(kind, events.deliver)


def test_what_cannot_be_called_or_never_happens_is_refused_on_micropython():
    warden.start(link=False)
    try:
        for wrong in (None, 5, "print"):
            raises(TypeError, warden.on, "lease", wrong)
            raises(TypeError, warden.on_trim, wrong)
        raises(TypeError, warden.allocate, 2, 10, on_preempt=5)
        for wrong in ("leases", "", 5):
            raises(ValueError, warden.on, wrong, print)
        assert running_policy().events.callbacks == [] and warden.allocations() == []
    finally:
        warden.stop()
