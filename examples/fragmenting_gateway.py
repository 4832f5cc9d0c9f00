"""A gateway that cuts its heap into pieces: half of the memory is free, in gaps too small for it.

`make demo` runs it on two boards, the same program on both. It keeps every other record of its
sensors, and records become longer as sensors join: none fits into the gaps that shorter ones left.
Without `warden` it skips pages when there is no room for them, and still dies of a MemoryError
where it has no choice. With `warden` the board refuses the page that does not fit, warns while
records still do, and asks for memory back.
"""

import asyncio

try:
    import warden
except ImportError:  # a board without the agent
    warden = None

_DENIED = warden.Denied if warden else MemoryError
PAGE_BYTES = 60_000
SENSOR_BYTES = 32  # of a record
RECORDS_A_SECOND = 100
STORED_RECORDS = 300  # in flash, of each set of sensors
FIRST_SENSORS = 11  # when it starts
MOST_SENSORS = 24


class Gateway:
    """What the program keeps: the records of each set of sensors, which could be read again."""

    def __init__(self):
        self.sensors = 4
        self.records = []
        self.older = []
        self.pages = 0
        self.left_out = 0  # pages
        self.watched = 0  # times that the alarm was checked

    def drop_records(self, level):
        """Give back the records: they are in flash, too."""
        older, self.older = self.older, []
        return sum(len(record) for records in older for record in records)

    # --- what it does -----------------------------------------------------------------------------

    async def watch_alarm(self):
        """Check the alarm five times a second: this must not stop."""
        while True:
            self.watched += 1
            await asyncio.sleep_ms(200)

    async def say(self):
        """Print every second what has been done."""
        while True:
            await asyncio.sleep_ms(1000)
            print(f"{self.pages} pages, {self.watched} alarm checks")

    def read(self, count):
        """Read so many records."""
        for _ in range(count):
            self.records.append(bytearray(SENSOR_BYTES * self.sensors))

    def join(self):
        """Have another sensor join; of the records until then every other one stays."""
        self.older.append(self.records[::2])
        self.records = []
        self.sensors = self.sensors % MOST_SENSORS + 1

    async def read_sensors(self):
        """Read what is in flash, then new records; once a second another sensor joins."""
        while self.sensors < FIRST_SENSORS:
            self.read(STORED_RECORDS)
            self.join()
        while True:
            for _ in range(20):
                self.read(RECORDS_A_SECOND // 20)
                await asyncio.sleep_ms(50)
            self.join()

    async def draw_pages(self):
        """Draw a page nearly three times a second, if there is room and the board agrees."""
        while True:
            try:
                await self._draw_page()
            except (MemoryError, _DENIED):
                self.left_out += 1
            await asyncio.sleep_ms(210)

    async def _draw_page(self):
        if warden:
            async with warden.operation("page", memory=PAGE_BYTES):
                await self._send_page()
        else:
            await self._send_page()

    async def _send_page(self):
        page = bytearray(PAGE_BYTES)
        await asyncio.sleep_ms(150)
        self.pages += len(page) > 0


async def main():
    """Do all of it at once."""
    gateway = Gateway()
    if warden:
        warden.start(interval_ms=250, budget_permille=100)
        warden.on_trim(gateway.drop_records)
    tasks = [gateway.read_sensors(), gateway.draw_pages(), gateway.say()]
    await asyncio.gather(gateway.watch_alarm(), *tasks)


asyncio.run(main())
