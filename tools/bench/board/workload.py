"""A fixed workload, alone or beside the agent. In front is put RATE_HZ (0: no agent).

The workload is 1000 times 10 ms of integer arithmetic, in a loop that polls as the agent asks, and
at least ten times a second, as `machine.Timer` would; alone, it polls nobody. A host listens, and
says so every second. Before it is timed the agent has run for ten seconds.
"""

import gc

import machine
from agents import keepalive, skip_ms, started
from meter import tell

from warden.setup import detect

_STEPS = 1000
_MS_A_STEP = 10
_DUAL = 0x40002004  # the free-running timer that warden.board_mps2 sets up: 25 MHz / 256
_mem = machine.mem32


def work():
    x = 1
    for i in range(627):
        x = (x * 5 + i) & 0xFFFF


class Nobody:
    """What is polled and heard where there is no agent: the application's loop is the same."""

    def poll(self):
        return 100

    def say_again(self):
        pass


def beside(agent, line):
    left = 0
    for turn in range(_STEPS):
        work()
        if turn % 100 == 0:
            line.say_again()
        left -= _MS_A_STEP
        if left <= 0:
            left = min(agent.poll(), 100)


gc.enable()
if RATE_HZ:
    agent, line = started(1000 // RATE_HZ, 10)
    for turn in range(100):
        if turn % 10 == 0:
            keepalive(line, agent)
        agent.poll()
        skip_ms(100)
else:
    detect()
    agent = line = Nobody()
gc.collect()
began = _mem[_DUAL]
beside(agent, line)
tell("workload", (began - _mem[_DUAL] & (1 << 30) - 1) * 256)
if RATE_HZ:
    tell("interval", 0, agent.governor.interval_ms)
    tell("faults", 0, agent.faults)
