# targets: unix frozen
# heap: 600k
"""An application that hangs is seen, interrupted, and its blocked line kept."""

import asyncio
import time

import warden
from warden.running import running_agent

_HANG_MS = 500
_ENOUGH_MS = 8000


def _events():
    """Return subject and detail of the events `hang` that were posted since the start."""
    ring = running_agent().policy.events
    found = [ring.event(number) for number in range(max(0, ring.seq - 16), ring.seq)]
    return [(event[4], event[5]) for event in found if event[1] == "hang"]


def _spin(until=None):
    """Turn in circles for ever, or until a time in ticks."""
    number = 7
    while until is None or time.ticks_diff(until, time.ticks_ms()) > 0:
        number = (number * 31) & 0xFFFF
    return number


def _checksum():
    return _spin()


def _measure():
    return _checksum()


async def _sensor():
    await asyncio.sleep_ms(20)
    async with warden.operation("sample"):
        _measure()


class _Application:
    """A main that hangs in a task at its first run, and ends at the second one."""

    def __init__(self, hang=_sensor, **options):
        self.hang = hang
        self.options = options
        self.runs = 0
        self.events = None

    async def main(self):
        self.runs += 1
        warden.start(interval_ms=100, budget_permille=1000, link=False)
        warden.watchdog(_HANG_MS, **self.options)
        if self.runs == 1:
            task = asyncio.create_task(self.hang())
            await asyncio.wait_for(task, _ENOUGH_MS // 1000)
        await asyncio.sleep_ms(300)
        self.events = _events()
        return self.runs


def _line_of(word):
    """Return the number of the line of this file that has a word."""
    with open(__file__) as file:
        for number, line in enumerate(file, 1):
            if word in line:
                return number


def _run(application):
    try:
        return warden.run(application.main)
    finally:
        warden.stop()
        asyncio.new_event_loop()


def test_a_hang_three_calls_below_asyncio_is_stopped_and_its_line_kept():
    application = _Application(action="stop")
    assert _run(application) == 2
    caught = [each for each in warden.exceptions() if each["kind"] == "hang"][-1]
    lines = caught["traceback"].rstrip("\n").split("\n")
    functions = [line.split(" ")[1] for line in lines[:-1]]
    assert functions[-2:] == ["_checksum", "_spin"], lines  # as many as there is room for
    found = int(lines[-2].split(" ")[0].split(":")[1])
    first = _line_of("while until is None")
    assert first <= found <= first + 1, (found, first)
    assert lines[-1].startswith("KeyboardInterrupt")
    assert caught["name"] == "_sensor: sample"
    assert application.events == [("begun", "_sensor: sample"), ("stopped", "_sensor: sample")]
