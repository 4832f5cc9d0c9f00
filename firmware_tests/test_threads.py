# targets: unix frozen
"""Threads are counted by standing in for `_thread`; nobody else notices (no GIL here)."""

import sys
import time

from figures import figure
from harness import no_heap, raises
from warden.detect import detect
from warden.sensors.threads import get_ident
from warden.setup import count_threads, make_agent


def _wait_for(condition):
    deadline = time.ticks_add(time.ticks_ms(), 20_000)
    while not condition():
        assert time.ticks_diff(deadline, time.ticks_ms()) > 0, "waited too long"
        time.sleep_ms(1)


def _installed():
    """Return a fresh counter over the real `_thread`, and what was in sys.modules before."""
    before = sys.modules.pop("_thread", None)
    return count_threads(), before


def _restore(before):
    del sys.modules["_thread"]
    if before is not None:
        sys.modules["_thread"] = before


def test_threads_are_counted_while_they_run():
    threads, before = _installed()
    import _thread

    gate = _thread.allocate_lock()
    gate.acquire()

    def work(number, name=None):
        gate.acquire()
        gate.release()

    assert threads.active == 1
    for number in range(4):
        _thread.start_new_thread(work, (number,), {"name": "x"})
    assert threads.active == 5
    gate.release()
    _wait_for(lambda: threads.active == 1)
    _restore(before)


def test_a_thread_that_fails_is_counted_out():
    threads, before = _installed()
    import _thread

    def fail():
        raise SystemExit  # the port prints any other

    _thread.start_new_thread(fail, ())
    _wait_for(lambda: threads.active == 1)
    _restore(before)


def test_a_thread_that_cannot_start_is_not_counted():
    threads, before = _installed()
    import _thread

    try:
        _thread.start_new_thread(lambda: None, 5)
    except TypeError:
        pass
    _wait_for(lambda: threads.active == 1)
    _restore(before)


def test_what_the_module_refuses_is_refused():
    threads, before = _installed()
    import _thread

    for args in ((1,), ((), ()), ((), None), ((), 5)):
        raises(TypeError, _thread.start_new_thread, print, *args)
        raises(TypeError, threads.start, print, *args)  # as MicroPython's own does
    assert threads.active == 1
    _restore(before)


def test_the_rest_of_the_module_is_there():
    _, before = _installed()
    import _thread
    from _thread import allocate_lock, get_ident

    assert get_ident() == _thread.get_ident()
    with allocate_lock():
        pass
    _restore(before)


class FakeThreadModule:
    """The real module, but no thread can be started any more: that is quick."""

    def __init__(self, module):
        self.allocate_lock = module.allocate_lock

    def start_new_thread(self, function, args):
        raise OSError("can't create thread")


def test_counting_from_many_threads_at_once_loses_nothing():
    before = sys.modules.pop("_thread", None)
    import _thread as real

    sys.modules["_thread"] = FakeThreadModule(real)
    threads = count_threads()
    start = sys.modules["_thread"].start_new_thread
    done = [0] * 4

    def hammer(index):
        for _ in range(20_000):
            try:
                start(hammer, ())
            except OSError:
                pass
        done[index] = 1

    for index in range(4):
        real.start_new_thread(hammer, (index,))
    _wait_for(lambda: sum(done) == 4)
    _restore(before)
    assert threads.active == 1


def test_threads_are_unknown_where_the_application_imported_first():
    import _thread

    before = sys.modules.get("_thread")
    sys.modules["_thread"] = _thread
    agent = make_agent(detect(), 1000, storage=False)
    assert agent.threads.early and figure(agent.sample, "threads") is None
    _restore(before)


def test_a_second_agent_finds_the_counter_of_the_first():
    threads, before = _installed()
    assert count_threads() is threads
    _restore(before)


def test_a_sample_gets_the_count_and_allocates_nothing():
    threads, before = _installed()
    agent = make_agent(detect(), 1000, storage=False)
    assert agent.threads is threads
    threads.active = 3
    with no_heap():
        agent.take_sample(0)
    threads.active = 1
    assert figure(agent.sample, "threads") == 3
    _restore(before)


def test_each_thread_has_its_own_id():
    _, before = _installed()
    import _thread

    found = []
    _thread.start_new_thread(lambda: found.append(get_ident()), ())
    _wait_for(lambda: found)
    assert found[0] != get_ident() == _thread.get_ident()
    _restore(before)


def test_all_names_can_be_imported_and_count():
    threads, before = _installed()
    names = {}
    exec("from _thread import *", names)  # what stood there was no module, and the board crashed
    gate = names["allocate_lock"]()
    gate.acquire()
    names["start_new_thread"](gate.acquire, ())
    assert threads.active == 2
    gate.release()
    _wait_for(lambda: threads.active == 1)
    assert "warden" not in str(sorted(names))
    _restore(before)
