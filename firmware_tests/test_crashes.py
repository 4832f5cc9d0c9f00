# targets: unix frozen qemu
# heap: 400k
"""What ends tasks, threads, callbacks and the application is kept, without memory too."""

import no_memory
import warden
from harness import has_module, raises
from rig import FakeLink, board, poll_all, poll_for_sample, skip_seconds
from warden.board import Board
from warden.crash_setup import attach, make_crashes
from warden.crashes import Crashes
from warden.runner import Runner
from warden.running import running_agent, running_policy

_TASK, _THREAD, _CALLBACK, _APPLICATION = range(4)
_HOST = 77
_EVENT, _EXCEPTION = 11, 18
_MAX_TEXT = 148
_BY_EXCEPTION = 2  # a state of the record
_NAME, _COUNT, _UPTIME, _TEXT = 2, 3, 4, 5  # places in a row


def _raised(error, depth=0):
    """Return an exception that was raised so many calls below here."""
    try:
        _raise(error, depth)
    except Exception as caught:
        return caught


def _raise(error, depth):
    if depth:
        _raise(error, depth - 1)
    raise error


def _fresh():
    """Return a new Crashes, of a board that has kept nothing."""
    if has_module("os") and hasattr(__import__("os"), "remove"):
        for name in ("warden.resets", "warden.resets.last"):
            try:
                __import__("os").remove(name)
            except OSError:
                pass
    crashes = make_crashes(board())
    crashes.rows[:] = [None] * len(crashes.rows)  # what spare RAM had of a test before
    return crashes


def _lines(caught):
    return caught["traceback"].rstrip("\n").split("\n")


def test_a_traceback_is_kept_as_file_line_and_function_of_each_frame():
    crashes = _fresh()
    crashes.keep(_raised(ValueError("wrong")), _THREAD, None)
    lines = crashes.rows[0][_TEXT].decode().split("\n")
    assert len(lines) == 4 and lines[-2:] == ["ValueError: wrong", ""]
    names = [line.split(" ")[1] for line in lines[:2]]
    assert names == ["_raised", "_raise"]
    for line in lines[:2]:
        assert int(line.split(" ")[0].split(":")[1]) > 0


def test_an_exception_that_was_not_raised_has_its_text():
    crashes = _fresh()
    crashes.keep(OSError(5), _TASK, "sensor")
    assert crashes.rows[0][_TEXT] in (b"OSError: 5\n", b"OSError: [Errno 5] EIO\n")
    assert crashes.rows[0][_NAME] == "sensor"
    assert crashes.rows[0][_UPTIME] is None  # there was no agent


class _Unprintable(Exception):
    """Raises where it should print itself."""

    def __str__(self):
        raise TypeError

    __repr__ = __str__


def test_an_exception_that_cannot_be_printed_has_its_frames_and_its_name():
    crashes = _fresh()
    crashes.keep(_raised(_Unprintable()), _APPLICATION, None)
    lines = crashes.rows[0][_TEXT].split(b"\n")
    assert lines[-2:] == [b"_Unprintable", b""] and lines[-3].endswith(b" _raise"), lines


def test_what_it_takes_to_keep_one_is_there_before():
    crashes = _fresh()
    before = sorted(crashes.__dict__)
    crashes.keep(_raised(ValueError("wrong")), _APPLICATION, None)
    assert sorted(crashes.__dict__) == before


def test_the_same_one_is_counted_and_not_kept_again():
    crashes = _fresh()
    for _ in range(3):
        crashes.keep(_raised(ValueError("wrong")), _TASK, "sensor")
    crashes.keep(_raised(ValueError("wrong")), _TASK, "other")
    crashes.keep(_raised(ValueError("else")), _TASK, "sensor")
    kept = [(row[_NAME], row[_COUNT]) for row in crashes.rows if row]
    assert kept == [("sensor", 3), ("other", 1), ("sensor", 1)]


def test_an_applications_lines_are_kept_and_not_those_of_the_agent_below_them():
    def ask():
        warden.allocate(warden.MEMORY, 10**9)

    def main():
        warden.start(link=False)
        ask()

    raises(warden.Denied, warden.run, main)
    warden.stop()
    caught = _lines(warden.exceptions()[-1])
    assert [line.split(" ")[-1] for line in caught] == ["main", "ask", "memory"], caught


def test_the_one_that_came_last_longest_ago_makes_room():
    crashes = _fresh()
    for number in (0, 1, 2, 3, 4, 0, 5):  # 0 came again: 1 goes
        crashes.keep(ValueError(str(number)), _TASK, None)
    texts = sorted([row[_TEXT] for row in crashes.rows[:5]])
    assert texts == [b"ValueError: %d\n" % number for number in (0, 2, 3, 4, 5)]


def test_of_a_deep_traceback_the_innermost_frames_stay():
    crashes = _fresh()
    crashes.keep(_raised(ValueError("w" * 300), 20), _TASK, None)
    text = crashes.rows[0][_TEXT]
    assert len(text) <= _MAX_TEXT
    assert text.endswith(b" _raise\nValueError: " + b"w" * 48 + b"\n")
    assert text.count(b" _raise\n") > 1


def test_with_no_memory_left_it_is_kept_all_the_same():
    error = _raised(ValueError("wrong"), 20)  # as long as a text may be
    poor = _fresh()
    rich = _fresh()
    poor.reserve = None
    no_memory.fill()
    poor.keep(error, _APPLICATION, None)
    rich.keep(error, _TASK, "sensor")
    no_memory.empty()
    assert poor.rows == [None] * 15  # so there was none
    assert poor.state == _BY_EXCEPTION  # all the same
    assert rich.rows[0][_TEXT].endswith(b" _raise\nValueError: wrong\n")
    poor.keep(error, _TASK, "sensor")
    assert poor.rows[0][_COUNT] == 1


def _fail():
    raise ValueError("of the application")


def _interrupt():
    raise KeyboardInterrupt


def test_a_link_that_is_no_function_is_refused_at_the_call():
    ran = []
    for link in (5, False, "serial"):
        for starts in (True, False):  # also where the agent runs, which has its link
            if starts:
                warden.start(link=False)
            raises(TypeError, warden.run, lambda: ran.append(1), link=link)
            warden.stop()
    assert not ran


def test_what_ends_the_application_is_kept_and_raised():
    raises(ValueError, warden.run, _fail)
    caught = warden.exceptions()[-1]
    assert (caught["kind"], caught["name"]) == ("application", None)
    assert _lines(caught)[-1] == "ValueError: of the application"
    assert _lines(caught)[-2].endswith(" _fail")
    count = caught["count"]
    raises(ImportError, warden.run, "no_such_module")
    assert "no module named" in _lines(warden.exceptions()[-1])[-1]
    raises(KeyboardInterrupt, warden.run, _interrupt)
    raises(ValueError, warden.run, _fail)
    assert warden.exceptions()[-1]["count"] == count + 1


def test_an_application_that_took_every_block_of_the_heap_is_kept_all_the_same():
    warden.start(link=False)
    warden.exceptions()
    Crashes.current.enter(0)
    try:
        warden.run(no_memory.leak)
    except Exception:  # it may be the one object that MicroPython has for such a moment
        pass
    no_memory.empty()
    assert Crashes.current.state == _BY_EXCEPTION
    caught = warden.exceptions()[-1]
    assert caught["kind"] == "application"
    assert _lines(caught)[-1].startswith("MemoryError")
    if not Crashes.current.backed:
        after = make_crashes(board())
        assert after.rows[5][0] == "exception", "the file has it, too"
    assert Runner.current.spare_status is not None, "for status() in such a heap"
    warden.stop()


def test_in_a_full_heap_an_application_is_run_once_more():
    """As in a loop around `warden.run()`; what it imports the first time has no room then."""
    warden.start(link=False)
    warden.run(_ignore)
    runs = []
    for free in (0, 2000):
        spare = [bytearray(free)]
        no_memory.fill()
        spare.clear()
        try:
            runs.append(warden.run(_return_five))
        except MemoryError as error:
            runs.append(error)
        no_memory.empty()
    assert runs == [5, 5], runs
    no_memory.fill()
    try:
        warden.run("no_such_module")
    except MemoryError as error:  # there is none to load it
        runs.append(error)
    except Exception:
        pass
    no_memory.empty()
    assert isinstance(runs.pop(), MemoryError)
    error = ValueError("once more")

    found = [None]

    def fail():
        found[0] = Crashes.current.main
        raise error

    no_memory.fill()
    try:
        warden.run(fail)
    except Exception as caught:
        runs.append(caught)
    no_memory.empty()
    assert runs.pop() is error
    assert found[0] is fail, "a hang of it is one of the application's"
    assert _lines(warden.exceptions()[-1])[-1] == "ValueError: once more"
    Crashes.current.is_safe = True
    no_memory.fill()
    try:
        runs.append(warden.run(_return_five))
    except MemoryError:
        pass
    no_memory.empty()
    Crashes.current.is_safe = False
    warden.stop()
    assert runs == [5, 5], "it waits in safe mode first"


def test_a_first_run_for_whose_agent_there_is_no_memory_says_so():
    def no_start(link):
        raise MemoryError

    before = Crashes.current, warden.start
    Crashes.current = None
    warden.start = no_start
    try:
        raises(MemoryError, warden.run, _return_five, FakeLink)
    finally:
        Crashes.current, warden.start = before
        Board.crashes = Crashes.current


def _ignore():
    pass


def _return_five():
    return 5


def test_what_the_application_returns_is_returned():
    assert warden.run(lambda: 5) == 5


class _Started:
    """The agent, with a host that has subscribed."""

    def __enter__(self):
        self.link = FakeLink()
        warden.start(interval_ms=600_000, budget_permille=1000, link=self.link)
        running_agent().governor.host_us = 10**6
        self.link.receive(64, 1, 4, _HOST)
        poll_all(running_agent())
        self.link.sent()
        return self

    def __exit__(self, kind, error, trace):
        warden.stop()
        return False

    def sent(self, kind):
        """Return what the host was sent of this kind since the last call."""
        running_agent().governor.host_us = 10**6
        poll_all(running_agent())
        assert running_agent().faults == 0
        return [message[2:] for message in self.link.sent() if message[0] == kind]


def test_an_event_tells_of_it_where_nothing_is_kept():
    with _Started() as board:
        Crashes.current, current = None, Crashes.current
        try:
            running_policy().events.report(ValueError(), _TASK, "sensor")
            running_policy().events.report(ValueError(), _THREAD, None)
        finally:
            Crashes.current = current
        assert [event[4:] for event in board.sent(_EVENT)][-2:] in (
            [[_TASK, "sensor: ValueError", None], [_THREAD, "ValueError", None]],
            [[_TASK, "sensor: ValueError", 1], [_THREAD, "ValueError", 1]],
        )


def test_a_host_is_sent_what_is_kept():
    warden.exceptions()  # sets it up
    with _Started() as board:
        number = Crashes.current.next_id
        Crashes.current.keep(OSError(5), _TASK, "sensor")
        (row,) = board.sent(_EXCEPTION)
        assert row[1:5] == [number, _TASK, "sensor", row[4]]
        assert row[4] >= 1 and row[5] >= 0 and row[6].startswith(b"OSError: ")
        board.link.receive(64, 1, 4, _HOST)
        rows = board.sent(_EXCEPTION)
        assert len(rows) == len(warden.exceptions())
        assert row in rows


def test_a_callback_that_raises_is_kept_under_its_own_event():
    warden.exceptions()
    with _Started() as board:
        warden.on("lease", _fail_with)
        warden.allocate(warden.MEMORY, 100, "me").release()
        warden.poll()
        event = [event for event in board.sent(_EVENT) if event[1] == "callback_failed"][-1]
        assert event[5] == "ValueError" and event[6] >= 1
        caught = warden.exceptions()[-1]
        assert (caught["kind"], caught["name"]) == ("callback", None)
        assert _lines(caught)[-2].endswith(" _fail_with")


def _fail_with(event):
    raise ValueError("of a callback")


def _generate(event):
    yield event


def _returns_coroutine(event):
    return _generate(event)


def test_a_callback_that_returns_a_coroutine_is_an_event():
    with _Started() as board:
        warden.on("lease", _returns_coroutine)
        warden.on_trim(_returns_coroutine)
        warden.allocate(warden.MEMORY, 100, "me").release()
        warden.poll()
        running_policy().pressure.level = 1
        assert running_policy().events.call(_returns_coroutine, 1, None) is not None
        told = [event[4:6] for event in board.sent(_EVENT) if event[1] == "callback_failed"]
        assert [detail for _, detail in told] == ["coroutine"] * 2


def test_an_agent_that_is_started_again_is_joined_with_what_is_kept():
    warden.exceptions()
    for _ in range(2):
        with _Started() as board:
            Crashes.current.keep(OSError(5), _TASK, "sensor")
            assert len(board.sent(_EXCEPTION)) == 1


def test_one_that_only_watches_after_one_that_decided_has_the_application_run():
    warden.exceptions()
    warden.start(link=False)
    warden.stop()
    warden.start(link=False, protect=False)
    try:
        assert warden.run(lambda: 5) == 5
        raises(ValueError, warden.run, _fail)
        skip_seconds(running_agent(), 2)
        poll_for_sample(running_agent())
        assert running_agent().faults == 0
    finally:
        warden.stop()


def test_ctrl_c_in_a_safe_boot_leaves_no_application_that_would_be_restarted():
    warden.exceptions()
    crashes = Crashes.current
    warden.start(link=False)
    real = crashes.board.sleep_ms
    crashes.is_safe, crashes.bad = True, 3
    crashes.board.sleep_ms = _interrupt_sleep
    try:
        raises(KeyboardInterrupt, warden.run, _fail)
        assert crashes.main is None
        raises(RuntimeError, warden.watchdog, action="stop")
    finally:
        crashes.board.sleep_ms = real
        crashes.is_safe, crashes.bad = False, 0
        warden.stop()


def _interrupt_sleep(ms):
    raise KeyboardInterrupt


def _run_in_a_safe_boot(main, link=None):
    """Do as `warden.run()` in a safe boot whose wait is over; return what main returns."""
    warden.exceptions()
    crashes = Crashes.current
    crashes.is_safe, crashes.bad = True, 3
    try:
        return warden.run(main, link, 0)
    finally:
        crashes.is_safe, crashes.bad = False, 0
        warden.stop()


def test_after_a_safe_boot_the_agent_is_what_the_application_starts():
    link = FakeLink()

    def main():
        warden.start(interval_ms=500, max_operations=2, link=link)
        agent = running_agent()
        poll_for_sample(agent)
        interval_ms = warden.status()["wanted_interval_ms"]
        return agent.link, interval_ms, running_policy().limits()[0], Crashes.current.end_s

    assert _run_in_a_safe_boot(main) == (link, 500, 2, 180)
    assert _run_in_a_safe_boot(lambda: Runner.current) is None, "as in a boot that is not safe"


def test_an_agent_that_ran_before_a_safe_boot_runs_on_after_it():
    link = FakeLink()
    assert _run_in_a_safe_boot(lambda: running_agent().link, lambda: link) is link
    warden.start(link=link)
    agent = running_agent()
    assert _run_in_a_safe_boot(running_agent) is agent


def test_in_safe_mode_a_stored_policy_is_set_aside():
    if not has_module("os") or not hasattr(__import__("os"), "statvfs"):
        return
    warden.exceptions()
    link = FakeLink()
    warden.start(link=link)
    try:
        from warden.policy_file import request, save
        from warden.stored_policy import stored_policy_of

        stored = stored_policy_of(running_agent())
        try:
            save(stored)
        except OSError:  # nothing is mounted
            return
    finally:
        warden.stop()
    try:
        for is_safe, state in ((False, 1), (True, 3)):  # in force; set aside
            Crashes.current.is_safe = is_safe
            warden.start(link=False)
            assert running_policy().stored_policy.state == state
            if is_safe:
                request(running_agent(), 2)
            warden.stop()
    finally:
        Crashes.current.is_safe = False


def _no_network():
    raise OSError(118)


def test_a_network_that_does_not_come_up_leaves_the_serial_line():
    assert warden.run(lambda: 7, _no_network) == 7
    try:
        agent = running_agent()
        assert agent.link is not None or agent.board.default_link() is None
        caught = warden.exceptions()[-1]
        assert caught["kind"] == "callback"
        assert " _no_network\nOSError: " in caught["traceback"]
    finally:
        warden.stop()


def test_a_link_that_comes_up_is_the_agents():
    link = FakeLink()
    assert warden.run(lambda: running_agent().link, lambda: link) is link
    warden.stop()


def test_a_host_that_was_there_before_is_sent_what_is_kept():
    """As where the start line starts the agent, and the application calls `run()` later."""
    warden.exceptions()
    with _Started() as board:
        Crashes.current.keep(OSError(5), _TASK, "sensor")
        assert len(board.sent(_EXCEPTION)) == 1
        attach(Crashes.current, running_agent())
        assert len(board.sent(_EXCEPTION)) == len(warden.exceptions())
        boots, crash_free_s = running_agent().board.identity[6:]
        assert boots >= 1 and crash_free_s >= 0
        assert warden.status()["board"]["boots"] == boots


def test_a_text_is_not_cut_inside_a_character():
    crashes = _fresh()
    for count in range(9):
        row = crashes.keep(_raised(ValueError("a" * count + "\u20ac" * 40), 3), _TASK, "sensor")
        assert row[_TEXT].decode().endswith("\u20ac\n"), row[_TEXT]
    warden.start(link=False)
    try:
        raises(ValueError, warden.run, lambda: _raise(ValueError("\u20ac" * 40), 9))
        assert "\u20ac" in warden.exceptions()[-1]["traceback"]
        Crashes.current.rows[0][_TEXT] = b"\x82\xac: \xe2\x82"  # noise
        assert [each for each in warden.exceptions() if each["traceback"] == "??: ??"]
    finally:
        warden.stop()


def test_a_text_of_many_words_leaves_room_for_file_and_line():
    crashes = _fresh()
    for error, name in (
        (ValueError("bad frame", bytes(100)), "ValueError: "),
        (KeyError(tuple(range(100))), "KeyError: "),
    ):
        row = crashes.keep(_raised(error), _TASK, "sensor")
        lines = row[_TEXT].decode().rstrip("\n").split("\n")
        assert lines[-2].split(" ")[1] == "_raise", lines
        assert lines[-1].startswith(name), lines


def test_a_pause_that_is_none_is_refused_before_a_safe_boot_needs_it():
    for wrong in (None, "60", -1):
        raises((TypeError, ValueError), warden.run, print, None, wrong)
