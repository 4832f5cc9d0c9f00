"""A fixed workload, alone or beside the agent. In front the bench puts RATE_HZ (0: no agent),
BUDGET_PERMILLE (what the agent may take) and GARBAGE (bytes that each step of the work makes).

The workload is 1000 times 10 ms of integer arithmetic, in a loop that polls as the agent tells it
to, and at least ten times a second, as `machine.Timer` would; alone, it polls nobody. A host
listens, and says so every second. Before it is timed the agent has run for ten seconds.
"""

import gc

import machine
from agents import keepalive, skip_ms, started
from meter import tell

from warden import hal

_STEPS = 1000
_MS_A_STEP = 10
_DUAL = 0x40002004  # the free-running timer that warden.hal_mps2 sets up: 25 MHz / 256
_mem = machine.mem32


def work():
    x = 1
    for i in range(627):
        x = (x * 5 + i) & 0xFFFF
    return bytearray(GARBAGE)  # noqa: F821


class Nobody:
    """What is polled and heard where there is no agent: the application's loop is the same."""

    def turn(self, _listen):
        return 100

    def again(self):
        pass


def beside(agent, line):
    left = 0
    for turn in range(_STEPS):
        work()
        if turn % 100 == 0:
            line.again()
        left -= _MS_A_STEP
        if left <= 0:
            left = min(agent.turn(True), 100)


gc.enable()
if RATE_HZ:  # noqa: F821
    agent, line = started(1000 // RATE_HZ, BUDGET_PERMILLE)  # noqa: F821
    agent.decide()
    for _ in range(100):
        keepalive(line, agent)
        agent.step(True)
        skip_ms(agent, 100)
    gc.collect()
    began = _mem[_DUAL]
    beside(agent, line)
else:
    hal.detect()
    gc.collect()
    began = _mem[_DUAL]
    beside(Nobody(), Nobody())
tell("workload", (began - _mem[_DUAL] & (1 << 30) - 1) * 256)
if RATE_HZ:  # noqa: F821
    tell("interval_kept", 0, agent.values[2])
