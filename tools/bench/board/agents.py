"""The agent as it is started for an application, with a host that listens; runs on the board."""

from array import array

import warden
from warden.board_mps2 import Uart1, ticks_ms
from warden.host_session import encode
from warden.mps2_viper import since

_HOST = 77
_ROOM = 200  # for what a host says at once
_MAX_POLLS = 300
_QUIET_POLLS = 3  # in which nothing is sent: then there is nothing
_LONG_MS = 3_600_000
_TASK = 0  # a kind of meter
_BANDWIDTH = 3  # a kind of lease
_LEARNING_PAUSE_S = 10
_said = bytearray(_ROOM)
_at = array("i", (0, 0))  # what of _said is read next, and its end


@micropython.viper
def readable() -> bool:
    at = ptr32(_at)
    return at[0] < at[1]


@micropython.viper
def _read(buf: ptr8, room: int) -> int:
    at = ptr32(_at)
    said = ptr8(_said)
    start = at[0]
    count = at[1] - start
    if count > room:
        count = room
    for i in range(count):
        buf[i] = said[start + i]
    at[0] = start + count
    return count


class Line(Uart1):
    """The board's UART1, as far as it is written to. What is read comes from `say`: the real port
    has room for one byte, and when the next one comes is up to the machine QEMU runs on.
    """

    def __init__(self):
        super().__init__()
        self.readable = readable

    def read(self, buf):
        return _read(buf, len(buf))

    def say(self, *message):
        """Have the host send a message."""
        payload = bytearray(248)
        payload[0] = 0x90 + len(message)
        end = 1
        for value in message:
            end = warden.put(payload, end, value)
        _at[1] = encode(payload, end, _said)
        _at[0] = 0

    def say_again(self):
        """Have the host send the same once more."""
        _at[0] = 0


def started(interval_ms=1000, budget_permille=1000, protect=True):
    """Start the agent, with a host that has subscribed; return it and its line.

    The budget is all of the core by default: what a tick takes is measured, not how seldom one is.
    """
    line = Line()
    warden.start(interval_ms, budget_permille, link=line, protect=protect)
    agent = warden.running_agent()
    line.say(64, 1, 0, _HOST)
    settle(agent)
    return agent, line


def keepalive(line, agent):
    """Have the host say that it is there, and what it has received."""
    line.say(66, _HOST, agent.session.uplink.seq - 1 & 0xFFFF)


def skip_ms(ms):
    """Have the board's clock of milliseconds jump, as if so long nothing was done."""
    ticks_ms()
    since[2] = (since[2] + ms) & 0x3FFFFFFF


def poll_now(agent):
    """Poll without the pause between two turns that send rows."""
    agent.clock.poll_now = True
    return agent.poll()


def until_sample_ms(agent):
    return agent.clock.until_ms(agent.deadline_s, agent.deadline_ms)


def settle(agent):
    """Poll until nothing is left to read or to send, and the next sample is not due."""
    quiet = 0
    for _ in range(_MAX_POLLS):
        seq = agent.session.uplink.seq
        poll_now(agent)
        if readable() or agent.session.uplink.seq != seq or until_sample_ms(agent) <= 0:
            quiet = 0
        else:
            quiet += 1
            if quiet == _QUIET_POLLS:
                return
    raise AssertionError("it does not come to rest")


def until_due(line, agent):
    """Skip to where the next sample is due; all else is done and sent, and the host is heard."""
    while True:
        keepalive(line, agent)
        settle(agent)
        if until_sample_ms(agent) <= 1000:
            break
        skip_ms(1000)
    skip_ms(until_sample_ms(agent))


def fill_tables(line, agent):
    """Take every row of every table; return what holds them."""
    policy = warden.running_policy()
    for number in range(8):
        for _ in range(_LEARNING_PAUSE_S):
            skip_ms(1000)
            keepalive(line, agent)
            poll_now(agent)
        with warden.begin("need%d" % number):
            bytearray(1000)  # that it needs
    held = [warden.session("session%d" % number, ttl_ms=_LONG_MS) for number in range(8)]
    for number in range(16):
        owner = held[number % 8]
        warden.allocate(_BANDWIDTH, 100 + number, owner="lease", ttl_ms=_LONG_MS, session=owner)
    for number in range(12):
        op = policy.operations.new("work%d" % number, 1, _LONG_MS, None, _LONG_MS, None)
        held.append(policy.operations.begin(op))
    for metric in range(8):
        warden.threshold(metric, warn=(1 << 30) - 2, critical=(1 << 30) - 1, hold_ms=1000)
    for number in range(16):
        held.append(policy.load_meters().add("task%d" % number, _TASK, 1, None))
    settle(agent)
    for table in policy.tables:
        if table is not None and not all(table.rows):  # None: nothing is learned
            raise AssertionError("a table is not full")
    return held
