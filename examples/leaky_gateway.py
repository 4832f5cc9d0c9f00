"""A gateway whose uplink is down: what it should have sent piles up until memory is full.

`make demo` runs it on two boards. It is the same program on both: where there is no `warden` it
does what programs do without one, and dies of MemoryError. With it, the board warns, asks for
memory back, refuses and ends what matters less, and the alarm goes on being watched.
"""

import asyncio

try:
    import warden
except ImportError:  # a board without the agent
    warden = None

READING_BYTES = 4096
READINGS_A_SECOND = 25
PICTURE_BYTES = 60_000
REPORT_BYTES = 30_000
RUN_S = 3600


class Gateway:
    """What the program keeps: readings that wait for the uplink, and pictures it could redo."""

    def __init__(self):
        self.readings = []
        self.pictures = []
        self.seen = 0  # readings
        self.watched = 0  # times that the alarm was looked at
        self.reports = 0

    def drop_pictures(self, level):
        """Give back what can be made again."""
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
        """Look at the alarm five times a second: this must not stop."""
        while True:
            if warden:
                async with warden.operation("alarm", priority=warden.HIGH):
                    self.watched += 1
            else:
                self.watched += 1
            await asyncio.sleep_ms(200)

    async def read_sensors(self):
        """Keep each reading until it is sent, which it never is."""
        while True:
            self.readings.append(bytearray(READING_BYTES))
            self.seen += 1
            await asyncio.sleep_ms(1000 // READINGS_A_SECOND)

    async def report(self):
        """Write a report every half second; not now, where the board says so."""
        while True:
            try:
                await self._report()
            except Exception as error:
                if warden is None or not isinstance(error, warden.Denied):
                    raise
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

    async def draw_pictures(self):
        """Draw pictures for a page that few look at, and keep the last four."""
        while True:
            try:
                await self._draw_picture()
            except (asyncio.CancelledError, Exception) as error:
                if warden is None or isinstance(error, MemoryError):
                    raise
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
    """Do all of it at once, and say how far it came."""
    gateway = Gateway()
    if warden:
        warden.start(interval_ms=250)
        warden.on_trim(gateway.drop_pictures)
        warden.on_trim(gateway.drop_readings)
    try:
        tasks = [gateway.read_sensors(), gateway.report(), gateway.draw_pictures()]
        await asyncio.gather(gateway.watch_alarm(), *tasks)
    finally:
        print(f"{gateway.seen} readings, alarm watched {gateway.watched} times")


asyncio.run(main())
