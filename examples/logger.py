"""A data logger on a card that fills up: each file has a lease, and the oldest makes room.

The session's quota keeps the log from taking the whole card. Then somebody fills the card without
asking, and the log gets by with less. Here a RAM disk stands in for the card:

    boardwarden console --board sim:examples/logger.py
"""

import asyncio
import os

import vfs

import warden

CARD = "/sd"
FILE_BYTES = 8192
KEPT_FILES = 4
_ENOSPC = 28  # not in MicroPython's errno


class RamDisk:
    """64 KB as a card would have them, see `vfs.AbstractBlockDev`."""

    def __init__(self):
        self.data = bytearray(128 * 512)

    def readblocks(self, block, buffer, offset=0):
        at = block * 512 + offset
        buffer[:] = self.data[at : at + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        at = block * 512 + offset
        self.data[at : at + len(buffer)] = buffer

    def ioctl(self, number, _):
        return {4: 128, 5: 512}.get(number, 0)  # how many blocks, how many bytes each


class Log:
    """Writes lines to files, each under a lease of its own; leaves older files alone."""

    def __init__(self):
        self.lost = 0  # lines
        self._session = warden.session("log", storage=KEPT_FILES * FILE_BYTES)
        self._kept = []  # (path, lease), oldest first; the last file is the one being written
        self.files = 0  # begun so far
        self._number = max([int(n[4:]) for n in os.listdir(CARD) if n.startswith("log-")] or [0])
        self._begin_file()

    def write(self, line):
        """Append a line; begin a new file when the lease, or the card, has no room for it."""
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            if error.errno != _ENOSPC:
                raise
            try:
                self._begin_file()
                self._file.write(line)
            except warden.Denied:  # although all but the last file were removed
                self.lost += 1

    def _begin_file(self):
        lease = self._room()
        if self._kept:
            self._file.close()
            self._kept[-1][1].commit()  # nothing more comes: what it took shows on the card
        self.files += 1
        self._number += 1
        path = f"{CARD}/log-{self._number}"
        self._file = lease.open(path, "w")
        self._kept.append((path, lease))
        print(f"{path} begun, {len(self._kept)} kept")

    def _room(self):
        """Return a lease for one file; remove old files until there is one."""
        while True:
            try:
                options = {"owner": "log", "ttl_ms": None, "mount": CARD, "session": self._session}
                return warden.allocate(warden.STORAGE, FILE_BYTES, **options)
            except warden.Denied as error:  # the quota, or the card
                if len(self._kept) < 2:
                    raise
                path, lease = self._kept.pop(0)
                os.remove(path)
                lease.release()
                print(f"{error.reason}: {path} removed")


async def write_log(log):
    """Write a line every 2 ms: a day's worth in seconds."""
    lines = 0
    while True:
        log.write(f"{lines:8} {21.5:6.1f} °C {1013.2:8.1f} hPa {48.0:5.1f} %\n")  # your sensors
        lines += 1
        if lines % 1000 == 0:
            print(f"{lines} lines, {log.lost} lost")
        await asyncio.sleep_ms(2)


async def fill_the_card(log):
    """Once the log has its full length, fill the card with pictures, without asking."""
    while log.files < KEPT_FILES + 2:
        await asyncio.sleep_ms(100)
    pictures = 0
    try:
        while True:
            put_picture(f"{CARD}/picture-{pictures}")
            pictures += 1
    except OSError:
        print(f"the card is full, after {pictures} pictures")


def put_picture(path):
    with open(path, "w") as file:
        file.write(bytes(2048))


async def main():
    warden.start()
    disk = RamDisk()
    vfs.VfsLfs2.mkfs(disk)  # a card comes with a file system: vfs.mount(machine.SDCard(), CARD)
    vfs.mount(disk, CARD)
    log = Log()
    await asyncio.gather(write_log(log), fill_the_card(log))


asyncio.run(main())
