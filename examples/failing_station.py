"""A station that crashes and hangs, and comes back: a board that nobody has to visit.

Each third reading raises, each fourth one never returns. `warden.run` keeps what ended the
application, and the watchdog interrupts the hang: `boardwarden crashes` shows file and line of
both. A board would be reset after a crash; here the loop at the end starts the station again.
"""

import asyncio

import warden

readings = 0


def read_sensor():
    """Return a reading; a real driver would ask the sensor, and wait for it too long."""
    global readings
    readings += 1
    if readings % 3 == 0:
        raise OSError(5)  # the sensor does not answer
    while readings % 4 == 0:
        pass  # nor does it ever say that it is ready
    return 21.5


async def measure():
    """Print a reading five times a second, and check in: whoever stops doing so is named."""
    alive = warden.checkin("measure", 2_000)
    while True:
        print("reading", readings + 1, "is", read_sensor())
        alive.feed()
        await asyncio.sleep_ms(200)


async def main():
    """Start the agent and its watchdog; a board with machine.WDT would add hardware_ms=8000."""
    warden.start(interval_ms=250)
    warden.watchdog(hang_ms=1_000, action="stop", restarts=1000)
    await measure()


while True:
    try:
        warden.run(main)
    except OSError:
        print("crashed:", warden.exceptions()[-1]["traceback"].split("\n")[-2])
        asyncio.new_event_loop()
