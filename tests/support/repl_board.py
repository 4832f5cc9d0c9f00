"""A real MicroPython at the end of a real pseudo-terminal, with what a board has and it lacks:
a file system of its own, soft reset, power that can be cut. Runs in a thread of its own.
"""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import termios
import threading
import time
import tty
from pathlib import Path

from places import SUPPORT

from boardwarden.transport.fd_stream import LAUNCHER, make_transparent
from boardwarden.transport.sim import find_micropython

REBOOT = b"MPY: soft reboot\r\n"
CTRL_A, CTRL_B, CTRL_C = 1, 2, 3
_LFLAG = 3  # a place in what tcgetattr() returns


class ReplBoard:
    """A context manager; `port` is the host's address of the board.

    kind: of file system: "lfs", "fat" (both in a file below `folder`, which outlives the board) or
    "posix", the folder itself, as a plain unix port. cut_after: bytes from the host after which
    the line breaks and the power is gone; cut_write: the same at this write to the flash.
    baud: of the line, both ways together; 0: as fast as it goes. watchdog_s: so long after main.py
    began the board starts anew, as by a watchdog that nobody feeds; 0: never.
    heap: as MicroPython's -X heapsize takes it; rom_bytes: of a ROMFS partition, 0 for none.
    own_repl: the program has no raw REPL, so it gets the one of on_board/repl.py.
    """

    def __init__(
        self,
        folder,
        kind="lfs",
        *,
        blocks=256,
        cut_after=None,
        cut_write=0,
        program=None,
        heap="512k",
        rom_bytes=0,
        own_repl=False,
        baud=0,
        watchdog_s=0.0,
    ):
        self.folder = Path(folder)
        self.image = self.folder / f"{kind}.img"
        self.kind = kind
        self.received = 0
        self.printed = b""
        self._at = []
        self._output = threading.Condition()
        self._blocks = blocks * (8 if kind == "fat" else 1)
        self._cut_after = cut_after
        self._cut_write = cut_write
        self._program = program or find_micropython()
        self._heap = heap
        self._own_repl = own_repl
        self.rom = self.folder / "rom.img"
        self._rom_bytes = rom_bytes
        self._baud = baud
        self._watchdog_s = watchdog_s
        self._bites_at = None
        self.bites = 0
        self._raw = False
        self._process = None
        self._board = -1

    def __enter__(self):
        self._host, self._host_end = pty.openpty()
        tty.setraw(self._host_end)
        self.port = os.ttyname(self._host_end)
        self._wake, self._waker = os.pipe()
        self._start()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        os.close(self._waker)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._off()
        os.close(self._host_end)
        os.close(self._wake)

    def _command(self, with_main):
        options = [self.kind, self.image, self._blocks, self._cut_write, int(with_main)]
        options += [self.rom, self._rom_bytes, int(self._own_repl)]
        board = [self._program, "-X", f"heapsize={self._heap}"]
        board += [] if self._own_repl else ["-i"]
        program = [SUPPORT / "on_board" / "boot.py", *options] if self.kind != "posix" else []
        return [str(word) for word in (*LAUNCHER, *board, *program)]

    def _start(self):
        self._board, end = pty.openpty()
        self._terminal = os.ttyname(end)
        make_transparent(end)
        if self.kind != "posix":  # on_board/boot.py has Ctrl-C be one when it has a file system
            mode = termios.tcgetattr(end)
            mode[_LFLAG] &= ~termios.ISIG
            termios.tcsetattr(end, termios.TCSANOW, mode)
        path = f".frozen:{self.folder}/lib"
        self._process = subprocess.Popen(
            self._command(with_main=not self._raw),
            stdin=end,
            stdout=end,
            stderr=end,
            cwd=self.folder,
            env={**os.environ, "MICROPYPATH": path},
            start_new_session=True,
        )
        os.close(end)
        if self._raw:
            os.write(self._board, b"\x01")
        elif self._watchdog_s and self._bites_at is None:
            self._bites_at = time.monotonic() + self._watchdog_s

    def _carry(self):
        """Carry bytes until the test ends or the power is gone."""
        while self._host >= 0:
            left = None
            if self._bites_at is not None:
                left = self._bites_at - time.monotonic()
                if left <= 0:
                    self._bite()
                    continue
            ready, _, _ = select.select([self._wake, self._host, self._board], [], [], left)
            if self._wake in ready:
                return
            if self._host in ready:
                data = os.read(self._host, 64 if self._baud else 4096)
                self._take_time(len(data))
                self._to_board(data)
            if self._board in ready:
                self._to_host()

    def _take_time(self, count):
        """Take as long as a line of that rate does for so many bytes: ten bits each."""
        if self._baud:
            time.sleep(count * 10 / self._baud)

    def _bite(self):
        """Start anew, with main.py, as a watchdog has it: no soft reset ends that."""
        self.bites += 1
        self._bites_at = None
        self._raw = False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def _forget_input(self):
        """Drop what nobody has read, as a board does at a Ctrl-C that interrupts its program.

        Else a program that reads nothing leaves the REPL what others had sent it.
        """
        with contextlib.suppress(OSError):  # it ends just now
            terminal = os.open(self._terminal, os.O_RDWR | os.O_NOCTTY)
            try:
                if termios.tcgetattr(terminal)[_LFLAG] & termios.ISIG:
                    termios.tcflush(terminal, termios.TCIFLUSH)
            finally:
                os.close(terminal)

    def _to_board(self, data):
        if CTRL_C in data:
            self._forget_input()
        for byte in data:
            if byte in (CTRL_A, CTRL_B):
                self._raw = byte == CTRL_A
        due, self._at = self._at, [at for at in self._at if at[0] > self.received + len(data)]
        rest = len(data) if self._cut_after is None else self._cut_after - self.received
        self.received += len(data)
        with contextlib.suppress(OSError):  # it ends just now
            os.write(self._board, data[:rest])
        if rest < len(data):
            self._off()
        for _, call in [at for at in due if at not in self._at]:
            call()

    def _to_host(self):
        try:
            data = os.read(self._board, 4096)
        except OSError:  # it has ended
            data = b""
        if data:
            self._take_time(len(data))
            self._note(data)
            os.write(self._host, data)
            return
        os.close(self._board)
        self._board = -1
        died = self._process.wait() == -signal.SIGKILL  # SIGINT: Ctrl-C as it boots
        if died or self.kind == "posix":
            self._off()
        else:
            if self._watchdog_s and self._bites_at is None:
                self._raw = False  # it bit: what came meanwhile went nowhere
            self._note(REBOOT)
            os.write(self._host, REBOOT)
            self._start()

    def _note(self, data):
        with self._output:
            self.printed += data
            self._output.notify_all()

    def wait_for_prompt(self, mark):
        """Wait until the board has printed a prompt after the last such mark."""
        with self._output:
            came = self._output.wait_for(lambda: b">>> " in self.printed.rpartition(mark)[2], 20)
        assert came, self.printed

    def type(self, keys):
        """Have the board receive what somebody types at its console."""
        os.write(self._board, keys)

    def at(self, count, call):
        """Call something once the host has sent so many bytes more."""
        self._at.append((self.received + count, call))

    def wait_for(self, mark, times=1):
        """Wait until the board has printed something so many times."""
        with self._output:
            came = self._output.wait_for(lambda: self.printed.count(mark) >= times, 20)
        assert came, self.printed

    def _off(self):
        """Cut the power, and with it the line.

        The line's name is not another's until the end, as who lost it tries again.
        """
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for fd in (self._board, self._host):
            if fd >= 0:
                os.close(fd)
        self._board = self._host = -1

    # --- its files, while it is off -------------------------------------------------------------

    def files(self):
        """Return what is in its files, by path; folders are None."""
        if self.kind == "posix":
            found = {}
            for path in self.folder.rglob("*"):
                name = str(path.relative_to(self.folder))
                found[name] = path.read_bytes() if path.is_file() else None
            return found
        text = self._offline("tell", "")
        return {name: bytes.fromhex(data) if data is not None else None
                for name, data in json.loads(text).items()}  # fmt: skip

    def put(self, files):
        """Write files, by path; folders first."""
        for name, data in files.items():
            if self.kind == "posix":
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / name).write_bytes(data)
            else:
                self._offline("put", json.dumps([name, data.hex()]))

    def _offline(self, what, value):
        command = [
            self._program,
            SUPPORT / "on_board" / "files.py",
            self.kind,
            self.image,
            str(self._blocks),
        ]
        done = subprocess.run(
            [*command, what],
            input=value,
            capture_output=True,
            text=True,
            timeout=30,
            cwd=self.folder,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
