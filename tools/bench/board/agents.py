"""The agent as it is started for an application, with a host that listens; runs on the board."""

from io import BytesIO

import warden
from warden import api
from warden.hal_mps2 import Uart1, since
from warden_schema import codec
from warden_schema.loops import seal

_HOST = 77
_ROOM = 160  # for what a host says at once


class Line(Uart1):
    """The board's UART1, as far as it is written to. What is read comes from `hear`: the real
    port has room for one byte, and when the next one comes is up to the machine QEMU runs on.

    Its `read` is C where the port's is machine code: one call, about as dear.
    """

    def __init__(self):
        super().__init__()
        self._said = BytesIO(bytes(_ROOM))
        self._from = self._said.seek(_ROOM)
        self.read = self._said.readinto

    def hear(self, *message):
        payload = bytearray(140)
        wire = bytearray(_ROOM)
        end = seal(payload, codec.put(payload, 0, list(message)), wire, len(wire))
        self._from = _ROOM - end
        self.again()
        self._said.write(wire[:end])
        self.again()

    def again(self):
        """Have the host say the same once more."""
        self._said.seek(self._from)


def started(interval_ms=1000, budget_permille=1000):
    """Start the agent, with a host that has subscribed; return it and its line.

    The budget is all of the core by default: what a tick takes is asked, not how seldom one is.
    """
    line = Line()
    warden.start(interval_ms=interval_ms, link=line, budget_permille=budget_permille)
    agent = api._agent_runner().agent
    line.hear(64, 1, 0, _HOST)
    for _ in range(3):
        agent.step(True)
    return agent, line


def keepalive(line, agent):
    """Have the host say that it is there, and what it has seen."""
    line.hear(66, _HOST, agent.uplink.seq - 1 & 0xFFFF)


def skip_ms(agent, ms):
    """Have the board's clock of milliseconds jump: as if so long nothing was done."""
    since[2] = (since[2] + ms) & 0x1FFFFFF
    agent.clock.news[0] = 1  # its microseconds go on as they were


def until_due(line, agent):
    """Skip to where the next sample is due; all else is done and told, and the host is heard."""
    while agent.memory.reading:
        agent.memory.read_on()
    while True:
        keepalive(line, agent)
        left = agent.step(True)
        while b"\x01" in agent.clock.news[1:]:
            agent.session.pump()
        skip_ms(agent, min(left, 1000))
        if left <= 1000:
            return


def fill_tables():
    """Take every row that an application can take; return what holds them."""
    for index in range(16):
        warden.allocate(warden.NETWORK_BANDWIDTH, 100 + index, owner="lease", ttl_ms=3_600_000)
    held = [warden.begin("work%d" % index) for index in range(4)]
    policy = api._agent_runner().agent.policy
    for index in range(8):
        held.append(policy.begin("later%d" % index, wait_ms=3_600_000))
    for index in range(8):
        held.append(warden.session("session%d" % index))
    for metric in range(8):
        warden.threshold(metric, warn=(1 << 30) - 2, critical=(1 << 30) - 1, hold_ms=1000)
    return held
