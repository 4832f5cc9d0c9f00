"""The commands that read, as processes of their own, with a real board: the unix port."""

import asyncio
import json
import os
import pty
import re
import signal

import pytest
from cli_process import finish, line_of, one_sentence, run, start

from boardwarden.transport.sim import find_micropython

pytestmark = pytest.mark.usefixtures("no_leftovers")

STATUS_KEYS = {
    "memory": {
        *("total_bytes", "used_bytes", "available_bytes"),
        *("live_bytes", "largest_free_block_bytes", "usage"),
    },
    "cpu": {"usage", "active_threads", "active_tasks", "loop_lag_s", "uptime_s"},
    "network": {"connected", "rssi_dbm", "sent_bytes", "received_bytes"},
    "overhead": {"cpu", "bytes_per_s", "dropped_frames"},
    "board": {
        *("machine", "firmware", "port", "unique_id", "boot_id", "reset_cause", "protocol"),
        "agent",
    },
}
HEAP_BLOCK_BYTES = 32  # of a 64-bit unix port


async def test_status_in_json_has_every_field():
    done = await run("status", "--board", "sim", "--json")
    assert (done.status, done.err) == (0, "")
    status = json.loads(done.out)
    for part, keys in STATUS_KEYS.items():
        assert keys <= set(status[part]), part
    assert {"storage", "interval_s", "last_updated", "age_s"} < set(status)
    memory = status["memory"]
    added = memory["used_bytes"] + memory["available_bytes"]
    assert abs(added - memory["total_bytes"]) <= HEAP_BLOCK_BYTES
    assert memory["live_bytes"] <= memory["used_bytes"]
    assert 0 <= status["cpu"]["usage"] <= 1
    assert status["cpu"]["uptime_s"] > 0
    assert 0 <= status["age_s"] < 5
    assert status["board"]["machine"]


async def test_status_text_fits_80_columns_without_colour():
    done = await run("status", BOARDWARDEN_BOARD="sim", COLUMNS="200")
    assert (done.status, done.err) == (0, "")
    assert "\x1b" not in done.out
    lines = done.out.splitlines()
    labels = [line.split(" ")[0] for line in lines if not line.startswith(" ")]
    assert labels == ["board", "memory", "cpu", "storage", "network", "agent", "policy"]
    assert all(len(line) <= 80 for line in lines)
    assert all(line == line.rstrip() for line in lines)
    assert re.search(
        r"^ +largest free block [\d.]+ MB, fragmentation [\d.]+ %$", done.out, re.MULTILINE
    )


async def test_capabilities_show_yes_or_the_reason():
    done = await run("capabilities", "--board", "sim")
    assert done.status == 0
    assert "memory              yes\n" in done.out
    assert "largest_free_block  yes\n" in done.out
    assert "wlan                no: this firmware does not have" in done.out
    done = await run("capabilities", "--board", "sim", "--json")
    known = json.loads(done.out)
    assert known["memory"] == {"available": True, "reason": None}
    assert not known["wlan"]["available"]


async def test_trends_of_a_young_board_are_empty():
    done = await run("trends", "--board", "sim", "--json", "--period", "30")
    assert (done.status, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["period_s"] == 30
    assert found["memory"]["exhausted_in_s"] is None
    done = await run("trends", "--board", "sim")
    assert "too few" in done.out


async def test_console_prints_what_the_application_prints(tmp_path):
    application = tmp_path / "app.py"
    application.write_text(
        "import asyncio, warden\nwarden.start()\n"
        "async def main():\n  for i in range(1000):\n"
        "    print('h\u00e9llo \u2699', i)\n    await asyncio.sleep_ms(20)\n"
        "asyncio.run(main())\n",
        encoding="utf-8",
    )
    process = await start("console", "--board", f"sim:{application}", "--json")
    seen = ""
    while "h\u00e9llo \u2699 20\n" not in seen:
        seen += json.loads(await line_of(process))["text"]
    process.send_signal(signal.SIGINT)
    assert (await finish(process)).status == 130


async def test_a_board_without_the_agent_is_one_sentence(tmp_path):
    application = tmp_path / "app.py"
    application.write_text("import time\nwhile True: time.sleep(1)\n")
    sentence = one_sentence(await run("status", "--board", f"sim:{application}"))
    assert "agent" in sentence
    assert "deploy" not in sentence  # which needs a serial port


async def test_a_board_at_its_prompt_advises_deploy():
    board_end, host_end = pty.openpty()
    repl = await asyncio.create_subprocess_exec(
        find_micropython(), stdin=board_end, stdout=board_end, stderr=board_end
    )
    try:
        port = os.ttyname(host_end)
        sentence = one_sentence(await run("status", "--board", port))
    finally:
        repl.kill()
        await repl.wait()
        os.close(board_end)
        os.close(host_end)
    assert "prompt" in sentence
    assert f"`boardwarden deploy {port} --start main.py` installs it." in sentence


async def test_ctrl_c_ends_the_simulated_board_too(tmp_path):
    application = tmp_path / "app.py"
    application.write_text(
        "import asyncio, warden\nwarden.start()\n"
        "async def main():\n  while True: await asyncio.sleep(1)\nasyncio.run(main())\n"
    )
    process = await start("watch", "--board", f"sim:{application}")
    await line_of(process)
    process.send_signal(signal.SIGINT)
    assert (await finish(process)).status == 130
    processes = await run(command=["ps", "-eo", "args"])
    assert str(application) not in processes.out
