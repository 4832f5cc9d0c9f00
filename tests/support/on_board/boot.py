"""Run by MicroPython's unix port: makes it the board that tests/support/repl_board.py describes.

The file system is a real littlefs or FAT in a file, so that it can be full, and cut off between
two writes of a block; then boot.py and main.py run as on any board.
"""

import os
import sys
import termios

import vfs

_LFLAG = 3  # a place in what tcgetattr() returns
_ISIG = 1
_BLOCK_BYTES = 4096


class Flash:
    """A block device in a file; kills the board at write number `cut`."""

    def __init__(self, path, blocks, block_bytes, cut):
        self._blocks = blocks
        self._size = block_bytes
        self._left = cut
        try:
            self._file = open(path, "r+b")
        except OSError:
            self._file = open(path, "w+b")
            for _ in range(blocks):
                self._file.write(b"\xff" * block_bytes)

    def readblocks(self, block, buffer, offset=0):
        self._file.seek(block * self._size + offset)
        self._file.readinto(buffer)

    def writeblocks(self, block, buffer, offset=0):
        self._count()
        self._file.seek(block * self._size + offset)
        self._file.write(buffer)
        self._file.flush()

    def ioctl(self, operation, argument):
        if operation == 4:
            return self._blocks
        if operation == 5:
            return self._size
        if operation == 6:
            self._count()
        return 0

    def _count(self):
        if self._left:
            self._left -= 1
            if not self._left:
                os.system("kill -9 $PPID")


class Rom:
    """`vfs` of a board with a ROMFS partition: a file, which can be erased and written like flash.

    It is in memory from the start, as a board's is in its address space. Writes count as the
    flash's do, so that they can be the last.
    """

    _BLOCK_BYTES = 4096

    def __init__(self, path, length, flash):
        self._path = path
        self._flash = flash
        self._data = bytearray(length)
        try:
            with open(path, "rb") as file:
                file.readinto(self._data)
        except OSError:
            with open(path, "wb") as file:
                for start in range(0, length, self._BLOCK_BYTES):
                    self._data[start : start + self._BLOCK_BYTES] = b"\xff" * self._BLOCK_BYTES
                file.write(self._data)

    def __getattr__(self, name):
        return getattr(vfs, name)

    def rom_ioctl(self, operation, number=0, *given):
        if operation == 1:
            return 1
        if operation == 2:
            return memoryview(self._data)
        if operation == 3:
            start, length = given if len(given) == 2 else (0, given[0])
            if start % self._BLOCK_BYTES or start + length > len(self._data):
                return -22
            blocks = (length + self._BLOCK_BYTES - 1) // self._BLOCK_BYTES
            for block in range(blocks):
                at = start + block * self._BLOCK_BYTES
                self._store(at, b"\xff" * self._BLOCK_BYTES)
            return 16
        if operation == 4:
            start, data = given
            if start + len(data) > len(self._data) or len(data) % 16:
                return -22
            written = bytes(self._data[start + at] & data[at] for at in range(len(data)))
            self._store(start, written)
            return 0
        return self._BLOCK_BYTES if operation == 6 else -22

    def _store(self, start, data):
        self._flash._count()
        self._data[start : start + len(data)] = data
        with open(self._path, "r+b") as file:
            file.seek(start)
            file.write(data)

    def mount(self):
        """As MicroPython does when it starts, before it mounts its flash."""
        try:
            vfs.mount(vfs.VfsRom(memoryview(self._data)), "/rom")
        except OSError:
            return
        sys.path[2:2] = ["/rom", "/rom/lib"]


class Sys:
    """`sys` of a board that is not a desktop."""

    platform = "rp2"

    def __init__(self, real):
        self._real = real

    def __getattr__(self, name):
        return getattr(self._real, name)


def mount(kind, path, blocks, cut):
    system = os.VfsLfs2 if kind == "lfs" else os.VfsFat
    flash = Flash(path, blocks, _BLOCK_BYTES if kind == "lfs" else 512, cut)
    try:
        os.mount(system(flash), "/flash")
    except OSError:
        system.mkfs(flash)
        os.mount(system(flash), "/flash")
    os.chdir("/flash")
    sys.path[:] = ["", ".frozen", "/flash/lib"]
    return flash


def heed_interrupts():
    """Have a Ctrl-C interrupt from now on: before, it would leave the board without its files."""
    mode = termios.tcgetattr(0)
    mode[_LFLAG] |= _ISIG
    termios.tcsetattr(0, termios.TCSANOW, mode)


def run(name):
    try:
        with open(name) as file:
            text = file.read()
    except OSError:
        return
    try:
        exec(text, {"__name__": "__main__"})
    except (Exception, KeyboardInterrupt) as error:
        sys.print_exception(error)


if __name__ == "__main__":
    kind, path, blocks, cut, with_main, rom, rom_bytes, raw_repl = sys.argv[1:]
    if kind != "posix":
        flash = mount(kind, path, int(blocks), int(cut))
        if int(rom_bytes):
            partition = Rom(rom, int(rom_bytes), flash)
            partition.mount()
            sys.modules["vfs"] = partition
    sys.modules["sys"] = Sys(sys)
    if kind != "posix":
        heed_interrupts()
    run("boot.py")
    if int(with_main):
        run("main.py")
    if int(raw_repl):
        sys.path.append(__file__.rsplit("/", 1)[0])
        import repl

        sys.path.pop()
        repl.run()
