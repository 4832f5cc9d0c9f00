"""A gateway whose uplink is down: what it should have sent piles up until memory is full.

`make demo` runs it on two boards, the same program on both. Without `warden` it skips pictures and
reports when there is no room for them, and still dies of a MemoryError where it has no choice. With
`warden` the board warns, asks for memory back, refuses and stops what matters less, and keeps
watching the alarm.
"""

import asyncio

try:
    import warden
except ImportError:  # a board without the agent
    warden = None

_DENIED = warden.Denied if warden else MemoryError
READING_BYTES = 2048
READINGS_A_SECOND = 50
PICTURE_BYTES = 60_000
REPORT_BYTES = 30_000


class Gateway:
    """What the program keeps: readings that wait for the uplink, and pictures it could redraw."""

    def __init__(self):
        self.readings = []
        self.pictures = []
        self.seen = 0  # readings
        self.watched = 0  # times that the alarm was checked
        self.reports = 0
        self.left_out = 0  # reports and pictures

    def drop_pictures(self, level):
        """Give back what can be redrawn."""
        count = len(self.pictures)
        self.pictures.clear()
        return count * PICTURE_BYTES

    def drop_readings(self, level):
        """When it is critical, forget the older half of the readings; before that, none."""
        count = len(self.readings) // 2 if level > 1 else 0
        del self.readings[:count]
        return count * READING_BYTES

    # --- what it does, from what matters most to what matters least ------------------------------

    async def watch_alarm(self):
        """Check the alarm five times a second: this must not stop."""
        while True:
            if warden:
                async with warden.operation("alarm", priority=warden.HIGH):
                    self.watched += 1
            else:
                self.watched += 1
            await asyncio.sleep_ms(200)

    async def say(self):
        """Print every second what has been done."""
        while True:
            await asyncio.sleep_ms(1000)
            print(f"{self.seen} readings, {self.watched} alarm checks")

    async def read_sensors(self):
        """Keep each reading until it is sent, which it never is."""
        while True:
            self.readings.append(bytearray(READING_BYTES))
            self.seen += 1
            await asyncio.sleep_ms(1000 // READINGS_A_SECOND)

    async def report(self):
        """Write a report every half second, if there is room and the board agrees."""
        while True:
            try:
                await self._report()
            except (MemoryError, _DENIED):
                self.left_out += 1
            await asyncio.sleep_ms(500)

    async def _report(self):
        if warden:
            async with warden.operation("report", memory=REPORT_BYTES):
                await self._write_report()
        else:
            await self._write_report()

    async def _write_report(self):
        page = bytearray(REPORT_BYTES)
        await asyncio.sleep_ms(50)
        self.reports += len(page) > 0

    async def keep_statistics(self):
        """Compute statistics all the time; nobody is in a hurry for them."""
        while True:
            try:
                await self._keep_statistics()
            except (asyncio.CancelledError, _DENIED):
                self.left_out += 1
            await asyncio.sleep_ms(200)

    async def _keep_statistics(self):
        if warden:
            async with warden.operation("statistics", priority=warden.LOW):
                await asyncio.sleep_ms(5000)
        else:
            await asyncio.sleep_ms(5000)

    async def draw_pictures(self):
        """Draw pictures for a page that few look at, and keep the last four."""
        while True:
            try:
                await self._draw_picture()
            except (MemoryError, asyncio.CancelledError, _DENIED):  # cancelled: preempted
                self.left_out += 1
            await asyncio.sleep_ms(300)

    async def _draw_picture(self):
        if warden:
            async with warden.operation("pictures", priority=warden.LOW, memory=PICTURE_BYTES):
                await self._keep_picture()
        else:
            await self._keep_picture()

    async def _keep_picture(self):
        self.pictures.append(bytearray(PICTURE_BYTES))
        del self.pictures[:-4]
        await asyncio.sleep_ms(1000)


async def main():
    """Do all of it at once."""
    gateway = Gateway()
    if warden:
        warden.start(interval_ms=250, budget_permille=100)
        warden.on_trim(gateway.drop_pictures)
        warden.on_trim(gateway.drop_readings)
    tasks = [gateway.read_sensors(), gateway.report(), gateway.draw_pictures()]
    tasks += [gateway.keep_statistics(), gateway.say()]
    await asyncio.gather(gateway.watch_alarm(), *tasks)


asyncio.run(main())
