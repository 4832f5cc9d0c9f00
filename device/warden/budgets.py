"""Budgets of bytes that the application may write to a file in a day; loaded at the first one.

They hold over boots: an eighth of a budget is noted as written, in the file `warden.budgets`,
before it is. A day is 24 hours of uptime, or of the board's clock once that is set. The file is
msgpack of [path, bytes, time] for each budget, and the CRC-16 of that.
"""

import os

from micropython import const

from warden.board import module
from warden.checks import check_int
from warden.metered_file import MeteredFile
from warden.running import running_policy
from warden.wear import wear
from warden_schema.codec import Reader, cut, put
from warden_schema.loops import crc16
from warden_schema.values import read_value

_SUFFIX = const(".budgets")  # of the file
_MAX_BUDGETS = const(4)
_MAX_PATH = const(120)
_MAX_BYTES = const(560)  # of the file
_MAX_DAY = const(0x3FFFFFFF)
_PARTS = const(8)  # of a budget, of which each is noted
_PART_S = const(10_800)  # in which one is earned
_SET_YEAR = const(2024)  # a clock that says so was set
_BUDGET_WRITE = const(3)  # a purpose of `wear`
_MAX_DETAIL = const(32)


def file_budget(path, bytes_a_day, refuse=True):
    """Let a file that `lease.open()` opens from now on be written so many bytes a day.

    What would be more raises OSError(EDQUOT), or with refuse=False is only told, by the event
    `budget`. path: with or without its directory; bytes_a_day: None for no budget any more.
    ValueError for a fifth budget, and for a path of more than 120 bytes.
    """
    policy = running_policy()
    if not isinstance(path, str):
        raise TypeError("path must be a str")
    if path[:1] != "/":
        path = os.getcwd().rstrip("/") + "/" + path
    if len(path.encode()) > _MAX_PATH:
        raise ValueError("path too long")
    budgets = MeteredFile.budgets
    if budgets is None:
        MeteredFile.budgets = budgets = {}
        wear.join(policy.agent.storage)
    if bytes_a_day is None:
        budgets.pop(path, None)
        return
    check_int("bytes_a_day", bytes_a_day, _PARTS, _MAX_DAY)
    if path not in budgets:
        if len(budgets) == _MAX_BUDGETS:
            raise ValueError("no more than four")
        budgets[path] = FileBudget(policy, path)
    budgets[path].day = bytes_a_day
    budgets[path].refuse = refuse


class FileBudget:
    """The budget of one file. day: bytes; used: those noted as written, as far as not earned."""

    def __init__(self, policy, path):
        self.policy = policy
        self.path = path
        self.day = self.used = 0
        self.refuse = True
        self.left = 0  # noted, and not yet written
        self.is_over = False
        self.earned_s = policy.clock.s  # up to this uptime,
        self.earned_at = None  # and this time of the board's clock, if it is set
        for other, used, at in _load(policy.agent.board):
            if other == path:
                self.used = used
                self.earned_at = at

    def spend(self, size):
        """Tell whether so many bytes may be written; what is too much is told once."""
        if size > self.left:
            self.earn()
            need = size - self.left
            if need > self.day - self.used:
                if not self.is_over:
                    detail = cut(self.path[-_MAX_DETAIL:], _MAX_DETAIL)
                    self.policy.events.post("budget", None, detail, self.day)
                self.is_over = True
                return not self.refuse
            part = min(max(need, self.day // _PARTS), self.day - self.used)
            self.used += part
            if not _save(self.policy):
                self.used -= part
                return not self.refuse
            self.left += part
            self.is_over = False
        self.left -= size
        return True

    def earn(self):
        """Give back what the time since the last call has earned."""
        clock = self.policy.clock
        clock.advance()
        parts = (clock.s - self.earned_s) // _PART_S
        now = _now()
        if now is not None:
            if self.earned_at is None or now < self.earned_at:
                self.earned_at = now
            parts = max(parts, min(_PARTS, (now - self.earned_at) // _PART_S))
        if parts > 0:
            self.earned_s = clock.s
            self.earned_at = now
            self.used = max(0, self.used - parts * (self.day // _PARTS + 1))


def _now():
    """Return the seconds of the board's clock, None if it has none or it is not set."""
    time = module("time")
    if time is None or not hasattr(time, "gmtime") or time.gmtime()[0] < _SET_YEAR:
        return None
    return int(time.time())


def _load(board):
    """Return what is noted of each file, () if there is nothing."""
    for end in ("", ".new"):
        try:
            with open(board.path + _SUFFIX + end, "rb") as file:
                data = file.read(_MAX_BYTES)
            if not crc16(data, 0, len(data)):
                return read_value(Reader(data, 0, len(data) - 2))
        except (OSError, IndexError, ValueError):
            pass
    return ()


def _save(policy):
    """Note what may be written from now on; return False if the agent has written too often.

    Where that cannot be written the budget holds for this boot: it may be the file of another disk.
    """
    board = policy.agent.board
    if not wear.spend(_BUDGET_WRITE, policy.clock.s):
        return False
    budgets = MeteredFile.budgets
    rows = [(each.path, each.used, each.earned_at) for each in budgets.values()]
    rows += [row for row in _load(board) if row[0] not in budgets]  # of an earlier boot
    rows = rows[:_MAX_BUDGETS]
    data = bytearray(_MAX_BYTES)
    end = put(data, 0, rows)
    crc = crc16(data, 0, end)
    data[end] = crc >> 8
    data[end + 1] = crc & 0xFF
    path = board.path + _SUFFIX
    try:
        with open(path + ".new", "wb") as file:
            file.write(memoryview(data)[: end + 2])
        os.rename(path + ".new", path)
    except OSError:  # a disk that is full, or read-only
        pass
    return True
