# targets: unix frozen qemu
# heap: 600k
"""What the watchdog makes of time in which its own ticker did not tick."""

from usual import new_operation
from warden.sleep import Sleeping
from watchdog_rig import Rig, without_asyncio

_RESET = "reset"


@without_asyncio
def test_nothing_is_stopped_for_time_in_which_the_ticker_did_not_tick_either():
    with Rig() as rig:
        rig.configure(action=_RESET)
        rig.dog.action.interrupt = None
        rig.pass_ms(1000)
        for is_ticker_first in (True, False):
            rig.board.ticks.pass_ms(6000)  # a debugger has the core
            if is_ticker_first:
                rig.dog.run_due(0)
            rig.pass_ms(1000)
            assert rig.resets == 0
        assert [event[0] for event in rig.events()] == ["begun", "over"]
        rig.board.ticks.pass_ms(6000)
        rig.pass_ms(1900, turns=False)
        assert rig.resets == 0
        rig.pass_ms(300, turns=False)  # it does hang
        assert rig.resets > 0
        rig.pass_ms(1000)
        rig.resets = 0
        rig.board.ticks.pass_ms(6000)
        rig.agent.poll()  # then it hangs
        rig.pass_ms(2300, turns=False)
        assert rig.resets > 0


@without_asyncio
def test_a_hang_is_stopped_though_each_of_its_parts_holds_up_the_ticker_too():
    """As collections of a large heap do, or reading its flash, again and again."""
    for part_ms in (1100, 1900, 6000):
        with Rig() as rig:
            rig.configure(action=_RESET)
            rig.dog.action.interrupt = None
            rig.pass_ms(1000)
            began = rig.board.ticks.now
            while not rig.resets:
                rig.board.ticks.pass_ms(part_ms)
                rig.dog.run_due(0)
                assert rig.board.ticks.now - began < 2000 + 3 * part_ms, part_ms


@without_asyncio
def test_nothing_is_stopped_either_where_the_ticker_ticked_last_before_the_last_turn():
    with Rig() as rig:
        rig.configure(action=_RESET)
        rig.dog.action.interrupt = None
        rig.pass_ms(1000)
        rig.board.ticks.pass_ms(50)
        rig.agent.poll()
        rig.board.ticks.pass_ms(6000)
        rig.dog.run_due(0)
        rig.board.ticks.pass_ms(1100)  # again, but shorter
        rig.dog.run_due(0)
        rig.pass_ms(800, turns=False)
        assert rig.resets == 0
        rig.pass_ms(300, turns=False)  # it does hang
        assert rig.resets > 0
        rig.pass_ms(1000)
        rig.resets = 0
        rig.dog.patience_ms = 3000  # as before an event loop begins
        rig.board.ticks.pass_ms(4000)
        rig.pass_ms(4900, turns=False)
        assert rig.resets == 0
        rig.pass_ms(300, turns=False)
        assert rig.resets > 0


@without_asyncio
def test_of_a_hang_only_that_is_left_out_for_which_the_ticker_stood_still_during_it():
    with Rig() as rig:
        rig.board.crashes = rig.crashes
        rig.configure(action=_RESET)
        rig.dog.action.interrupt = None
        for before in (_sleep, _operation, _start_anew, _turn):
            rig.pass_ms(1000)
            rig.resets = 0
            before(rig)
            rig.pass_ms(2000, turns=False)  # it hangs
            assert rig.resets == 0, before.__name__
            rig.pass_ms(300, turns=False)
            assert rig.resets > 0, before.__name__


def _stand_still(rig):
    rig.board.ticks.pass_ms(6000)
    rig.dog.run_due(0)


def _sleep(rig):
    with Sleeping():
        _stand_still(rig)


def _operation(rig):
    operations = rig.agent.policy.operations
    op = operations.begin(new_operation(operations, "flash", timeout_ms=60_000))
    _stand_still(rig)
    operations.end(op)


def _start_anew(rig):
    _stand_still(rig)
    rig.dog.begin()


def _turn(rig):
    _stand_still(rig)
    rig.agent.poll()
