# targets: unix frozen unix32
"""Threads whose numbers are of more than 30 bits, as on unix32: to ask for one takes heap."""

import _thread
import asyncio
import sys
import time

import warden
from figures import figure
from harness import no_heap
from warden.running import get_runner


def test_such_numbers_are_tried_here():
    assert sys.maxsize >> 32 or _thread.get_ident() > 0x3FFFFFFF


async def test_the_agents_task_goes_on_while_there_is_no_heap():
    warden.start(interval_ms=20, budget_permille=1000, link=False)
    try:
        agent = get_runner().agent
        await asyncio.sleep_ms(50)
        began_ms = time.ticks_ms()
        uptime_s = figure(agent.sample, "uptime_s")
        with no_heap():
            while figure(agent.sample, "uptime_s") == uptime_s:
                assert time.ticks_diff(time.ticks_ms(), began_ms) < 5000
                await asyncio.sleep_ms(20)
        assert agent.faults == 0
        assert not any([task.done() for task in get_runner().tasks])
    finally:
        warden.stop()
