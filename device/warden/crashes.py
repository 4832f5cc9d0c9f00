"""Keeps the exceptions that ended tasks, threads, callbacks and the application, with traceback.

Loaded when the application sets it up, with `warden.run()` or the first `warden.exceptions()`. What
it needs to keep an exception when no memory is left is made then.
"""

import builtins
import io
import sys

from micropython import const

from warden.blackbox import let_go
from warden.board import Board
from warden.runner import Runner
from warden.sensors.threads import import_lock, new_lock
from warden_schema.codec import cut

_RESTART = const(19)  # a kind of message
_RESTART_FIELDS = const(13)  # row, id, and what an entry has
_MAX_TEXT = const(148)  # bytes of a traceback; the innermost frames are the last ones
_MAX_WORD = const(48)  # bytes of a function's name or an error's text
_MAX_FILE = const(32)  # bytes of a file's name: its end
_ROOM_BYTES = const(35)  # so many bytes go at once to make room
_OUTER = const(b" counted\n")  # up to this frame of a task all is asyncio's and the agent's
_MAX_NAME = const(24)
_HAS_ENDED = const(1)  # a state, as in `blackbox`
_MAX_ID = const(0x3FFFFFFF)
_TASK = const(0)  # of ids.EXCEPTION_KINDS
_CALLBACK = const(2)
_APPLICATION = const(3)
_HANG = const(4)
# Bytes: for a row, its text, and what is garbage while it is written.
_spare_bytes = 640 if sys.maxsize >> 32 else 320


class Traceback(io.IOBase):
    """A stream that holds the end of a traceback, shortened to `file:line function` a line."""

    def __init__(self):
        self.buf = bytearray(_MAX_TEXT)
        self.length = 0
        self.is_file = False  # whether a file's name comes next

    def write(self, word):
        """Add what `sys.print_exception` writes: each word by itself, as py/obj.c has it."""
        count = len(word)
        at = max(0, count - _MAX_FILE) if self.is_file else 0
        self.is_file = word == b'  File "'
        if self.is_file or word == b"Traceback (most recent call last):\n":
            return count
        if word == b'", line ':
            word = b":"
        elif word == b", in ":
            word = b" "
        buf = self.buf
        length = self.length
        for place in range(at, min(len(word), at + _MAX_WORD)):
            if length == _MAX_TEXT:
                length -= _ROOM_BYTES
                for to in range(length):
                    buf[to] = buf[to + _ROOM_BYTES]
            buf[length] = word[place]
            length += 1
        self.length = length
        return count

    def read_text(self, error):
        """Return the end of an exception's traceback as bytes; it may begin inside a line."""
        self.length = 0
        sys.print_exception(error, self)
        return bytes(memoryview(self.buf)[: self.length])


class Caught:
    """An exception that ended something: how often, and when it did so last."""

    def __init__(self, kind, name, text):
        self.id = 0  # the order in which they came last
        self.kind = kind  # a place in ids.EXCEPTION_KINDS
        self.name = name
        self.text = text  # bytes: its traceback
        self.count = 0
        self.uptime_s = None  # unless an agent ran


class Crashes:
    """`keep()` keeps an exception; current: the one of this board, None before it is set up."""

    current = None
    new_row = Caught

    def __init__(self, board):
        self.traceback = Traceback()
        self.reserve = bytearray(_spare_bytes)
        with import_lock:
            from warden.crash_setup import assemble
        assemble(self, board)
        let_go("last_boot")
        let_go("values")  # which it has read the file with

    def attach(self, agent):
        """Have what ends the tasks, threads and callbacks of an agent's board kept, too."""
        self.agent = agent
        self.lock = new_lock()  # which that agent's timer heeds
        with import_lock:
            from warden.crash_setup import attach
        attach(self, agent)
        let_go("last_boot")

    def leave_safe_mode(self):
        """Have the application tried again now."""
        self.must_wait = False

    def encode_reset(self, row, uplink):
        """Put an entry of the list of resets into the uplink, as `Table.encode` does."""
        uplink.begin(_RESTART, _RESTART_FIELDS)
        uplink.put(row)
        uplink.put(row + 1)
        for value in self.black_box.entries[row]:
            uplink.put(value)
        return True

    def keep(self, error, kind, name):
        """Keep an exception that ended something, and post its event; see `Events.report`.

        Return its row, None if there was no memory. Of a hang the watchdog posts the event.
        """
        count = caught = None
        subject = name
        with self.lock:
            self.reserve = None
            try:
                caught = self.find(kind, name, self.traceback.read_text(error))
                count = caught.count
                if kind != _CALLBACK:
                    subject = caught.name
                self.reserve = bytearray(_spare_bytes)
                if kind == _APPLICATION:
                    self.black_box.note_exception(caught)
            except (MemoryError, ValueError):  # not UTF-8; there is its event
                pass
        if self.report is not None and kind != _HANG:
            self.report(error, kind, subject, count)
        return caught

    def find(self, kind, name, text):
        """Return the row of an exception, counted once more; the one that came first makes room."""
        rows = self.rows
        at = text.find(_OUTER)
        if at >= 0:
            text = text[at + len(_OUTER) :]
            if kind == _TASK and name is None:  # its coroutine's
                name = cut(text[: text.find(b"\n")].decode().split(" ")[-1], _MAX_NAME)
        elif kind == _CALLBACK:
            name = None
        elif kind >= _APPLICATION:  # the first frame is that of run()
            text = text[text.find(b"\n") + 1 :] or text
            while text.startswith(b"asyncio/"):
                text = text[text.find(b"\n") + 1 :]
        place = 0
        for row in range(len(rows)):
            caught = rows[row]
            if caught is None:
                place = row
                break
            if caught.kind == kind and caught.name == name and caught.text == text:
                place = row
                break
            if caught.id < rows[place].id:
                place = row
        else:
            caught = None
        if caught is None:
            caught = Caught(kind, name, text)
        caught.id = self.next_id
        self.next_id = self.next_id % _MAX_ID + 1
        caught.count += 1
        rows[place] = caught
        runner = Runner.current
        caught.uptime_s = None
        if runner is not None:
            runner.agent.clock.advance()
            caught.uptime_s = runner.agent.clock.s
        if self.table is not None:
            self.table.mark_dirty(place)
        return caught


def set_up():
    """Return the Crashes of this board, made at the first call, and joined with its agent."""
    crashes = Crashes.current
    runner = Runner.current
    if crashes is None:
        if runner is None:
            with import_lock:
                from warden.setup import detect
            board = detect()
        else:
            board = runner.agent.board
        Board.crashes = Crashes.current = crashes = Crashes(board)
        Board.is_safe = crashes.black_box.is_safe
    if runner is not None and runner.agent is not crashes.agent:
        crashes.attach(runner.agent)
    return crashes


def run(main, link=None, retry_s=60):
    """Run the application, and keep the exception that ends it; return what it returns.

    main: a function, async or not, a coroutine, the name of a module to import, or that of a file,
    "….py", which is run as MicroPython runs main.py. link: a function that brings up the network
    and returns a link for `warden.start()`, which is then called here, before main; None: main
    starts the agent itself. After three bad boots in a row main does not
    run before the agent has answered for retry_s seconds, twice as long after each further one, an
    hour at most.
    """
    crashes = set_up()
    box = crashes.black_box
    if box.is_safe or (link is not None and Runner.current is None):
        with import_lock:
            from warden.crash_setup import begin
        begin(crashes, link, retry_s)
        let_go("last_boot")
    crashes.main = main
    must_feed = True
    try:
        while True:
            box.set_state(box.running, False)
            try:
                result = main
                if isinstance(main, str):
                    if not main.endswith(".py"):
                        result = __import__(main)
                    elif hasattr(builtins, "execfile"):
                        result = builtins.execfile(main, __import__("__main__").__dict__)
                    else:  # esp8266; a traceback then has no file's name
                        with open(main) as file:
                            result = file.read()
                        result = exec(result, __import__("__main__").__dict__)
                elif callable(main):
                    result = main()
                if hasattr(result, "throw"):  # a coroutine
                    result = __import__("asyncio").run(result)
                break
            except Exception as error:
                must_feed = False  # the hardware watchdog is what restarts the board now
                box.board.collect()  # most of what the application had is garbage now
                crashes.keep(error, _APPLICATION, None)
                raise
            except BaseException as error:  # Ctrl-C, or the watchdog's: then main is to run anew
                stopper = crashes.watchdog and crashes.watchdog.stopper
                if stopper is None or not stopper.on_interrupt(error):
                    box.set_state(_HAS_ENDED, False)
                    raise
    finally:
        crashes.main = None
        if crashes.watchdog is not None:
            crashes.watchdog.end(must_feed)
    box.set_state(_HAS_ENDED, False)
    return result
