"""Run by MicroPython's unix port: makes it the board that tests/support/repl_board.py describes.

The file system is a real littlefs or FAT in a file, so that it can be full, and cut off between
two writes of a block; then boot.py and main.py run as on any board.
"""

import os
import sys

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


def run(name):
    try:
        with open(name) as file:
            text = file.read()
    except OSError:
        return
    try:
        exec(text, {"__name__": "__main__"})
    except Exception as error:
        sys.print_exception(error)


if __name__ == "__main__":
    kind, path, blocks, cut, with_main = sys.argv[1:]
    if kind != "posix":
        mount(kind, path, int(blocks), int(cut))
    sys.modules["sys"] = Sys(sys)
    run("boot.py")
    if int(with_main):
        run("main.py")
