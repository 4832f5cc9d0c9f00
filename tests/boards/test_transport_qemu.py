"""The frozen firmware on QEMU, as an address. It is built once, which takes a minute."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest
from built_firmware import built
from cli_process import run

import boardwarden
from boardwarden.errors import AddressError, LinkLost
from boardwarden.transport import transport_for
from boardwarden.transport.sim import QemuMachine, _open_port

LIMIT_S = 20.0

needs_qemu = pytest.mark.skipif(
    not os.environ.get("CI") and shutil.which("qemu-system-arm") is None,
    reason="QEMU is missing: apt-get install qemu-system-arm",
)


@pytest.fixture(scope="module")
def firmware():
    """Return the frozen firmware's path."""
    return built("qemu")


@needs_qemu
@pytest.mark.timeout(600)
async def test_status_of_the_cortex_m3(firmware):
    done = await run("status", "--board", f"qemu:{firmware}", "--json")
    assert (done.status, done.err) == (0, "")
    status = json.loads(done.out)
    assert status["board"]["machine"] == "mps2-an385"
    memory = status["memory"]
    assert memory["used_bytes"] + memory["available_bytes"] == pytest.approx(
        memory["total_bytes"], abs=16
    )
    assert status["cpu"]["usage"] is None
    assert status["cpu"]["uptime_s"] > 0


@needs_qemu
@pytest.mark.timeout(600)
async def test_close_ends_qemu_and_open_boots_again(firmware):
    board = transport_for(f"qemu:{firmware}")
    for _ in range(2):
        await asyncio.wait_for(board.open(), LIMIT_S)
        process = board._machine._qemu._process
        reading = asyncio.create_task(board.read())
        await asyncio.sleep(0)
        await asyncio.wait_for(board.close(), LIMIT_S)
        assert await asyncio.wait_for(reading, LIMIT_S) == b""
        assert process.returncode is not None


@pytest.mark.alone
@needs_qemu
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the time taken in /proc")
async def test_an_idle_board_sleeps(firmware):
    transport = transport_for(f"qemu:{firmware}")
    async with boardwarden.connect(transport, timeout=LIMIT_S) as board:
        stat = Path(f"/proc/{transport._machine._qemu._process.pid}/stat")
        await board.wait_sample()
        before = _seconds_of_core(stat)
        for _ in range(3):  # of which its timer wakes it
            await asyncio.wait_for(board.wait_sample(), LIMIT_S)
        assert _seconds_of_core(stat) - before < 1
        assert await board.ping() < LIMIT_S  # and its line


def _seconds_of_core(stat):
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@needs_qemu
async def test_a_file_that_is_no_firmware_is_refused():
    with pytest.raises(AddressError, match="must be built for mps2-an385"):
        await asyncio.wait_for(transport_for(f"qemu:{__file__}").open(), LIMIT_S)


def test_a_port_that_went_with_its_qemu_is_a_lost_link(tmp_path):
    with pytest.raises(LinkLost, match="has ended"):
        _open_port(bytes(tmp_path / "gone"), "qemu:firmware.elf")


# In firmware the agent's files are joined into the module `warden`.
_CRITICAL_FOR_LONG = """
from warden.setup import detect, make_agent
agent = make_agent(detect(), 1000, 10, None, (4, 300_000, 100, 5000))
policy = agent.policy
policy.thresholds.set("memory", critical=1, action=2)  # RESET
print("watching")
for second in range(40):
    policy.evaluate(1000, 0)
    policy.deliver()
print("not reset")
"""


@needs_qemu
@pytest.mark.timeout(600)
async def test_a_threshold_with_the_action_reset_resets_the_processor(firmware):
    machine = QemuMachine(str(shutil.which("qemu-system-arm")), Path(firmware), "reset")
    repl = await asyncio.wait_for(machine.start(), LIMIT_S)
    try:
        port = machine._repl_port
        await asyncio.wait_for(repl.enter(), LIMIT_S)
        await port.write(_CRITICAL_FOR_LONG.encode() + b"\x04")
        said = b""
        while b'Type "help()"' not in said and b"not reset" not in said:
            said += await asyncio.wait_for(port.read(), LIMIT_S)
        assert b"watching" in said
        assert b"not reset" not in said
        assert b"MicroPython" in said  # the banner of a new start
    finally:
        await machine.close()
