"""The commands about leases, operations and limits, with a real board: the unix port."""

import json

import pytest
from cli_process import one_sentence, run

pytestmark = pytest.mark.usefixtures("no_leftovers")


async def test_each_list_command_shows_the_applications_rows(granted):
    for command, key, name in (
        ("leases", "leases", "owner"),
        ("ops", "operations", "name"),
        ("sessions", "sessions", "name"),
    ):
        done = await run(command, "--board", granted, "--json")
        assert (done.status, done.err) == (0, "")
        assert [row[name] for row in json.loads(done.out)[key]] == ["application"]
        done = await run(command, "--board", granted)
        assert "application" in done.out
        assert all(len(line) <= 80 for line in done.out.splitlines())
    done = await run("events", "--board", granted, "--json")
    kinds = [json.loads(line)["kind"] for line in done.out.splitlines()]
    assert "denied" in kinds


async def test_limits_and_thresholds_are_set_with_the_command_to_undo():
    done = await run("limits", "--board", "sim", "--overrun", "2.5", "--json")
    assert json.loads(done.out)["overrun_s"] == 2.5
    done = await run("thresholds", "cpu", "--warn", "90%", "--hold", "3", "--board", "sim")
    assert (done.status, done.err) == (0, "")
    assert "to undo: boardwarden thresholds cpu --off" in done.out
    done = await run("thresholds", "memory", "--off", "--board", "sim")
    assert done.out.startswith("not watched\n")
    assert "to undo: boardwarden thresholds memory --warn 0." in done.out


async def test_alloc_holds_a_lease_for_the_given_time():
    done = await run("alloc", "memory", "8k", "--board", "sim", "--owner", "x", "--for", "0.2")
    assert (done.status, done.err) == (0, "")
    assert done.out == "lease 1: 8.0 KB of memory, for 200 ms\nreleased lease 1\n"


async def test_a_denied_alloc_has_exit_status_3():
    said = one_sentence(await run("alloc", "memory", "900M", "--board", "sim"), status=3)
    assert "Denied: not enough memory is free; 1." in said
    assert "are available" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["alloc", "memory", "8q"], "8192, 8k or 1M"),
        (["alloc", "memory", "0"], "from 1 to"),
        (["alloc", "heat", "8k"], "there are memory"),
        (["alloc", "memory", "8k", "--priority", "urgent"], "there are low"),
        (["alloc", "memory", "8k", "--mount", "/"], "storage only"),
        (["alloc", "memory", "8k", "--for", "-1"], "--for must be"),
        (["alloc", "cpu-time", "2"], "fraction of a core"),
        (["release", "0"], "An id must be"),
        (["limits", "--max-operations", "9"], "1 to 8"),
        (["limits", "--memory-reserve", "much"], "fraction"),
        (["thresholds", "heat"], "there are memory"),
        (["thresholds", "--warn", "5"], "Which metric?"),
        (["thresholds", "cpu", "--off", "--warn", "5"], "--off"),
        (["thresholds", "cpu", "--warn", "much"], "--warn must be"),
        (["thresholds", "cpu", "--action", "panic"], "there are tell"),
        (["thresholds", "cpu", "--warn", "0.5", "--hold", "-1"], "hold must be"),
        (["release", "7"], "it may have ended"),
        (["cancel", "7"], "it may have ended"),
        (["thresholds", "memory", "--warn", "95%"], "one way"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_each_error_is_one_sentence(words, says):
    assert says in one_sentence(await run(*words, "--board", "sim"))


@pytest.mark.alone
async def test_top_shows_the_cpu_share_of_each_task(granted):
    done = await run("top", "--json", "--board", granted)
    meters = json.loads(done.out)["meters"]
    assert [meter["name"] for meter in meters] == ["spinner", "sleeper", "reader"]
    spinner = meters[0]
    assert spinner["cpu"] == pytest.approx(0.3, abs=0.1)
    assert 0.02 <= spinner["worst_s"] < 0.1
    assert meters[2]["cpu"] is None
