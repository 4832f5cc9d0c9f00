"""Starting and reading the one agent of this board; what else is public is loaded at its first use.

Each public function checks whether something is overdue, because nobody runs the agent any more,
and runs it: see `running`.
"""

import sys

from micropython import const

from warden.agent import Agent
from warden.runner import Runner
from warden.running import get_runner, running_agent
from warden.sample import fragmentation_permille
from warden.sensors.threads import import_lock

_NEVER_S = const(0x3FFFFFFF)  # it is measured only when that is asked for


def start(
    interval_ms=1000,
    budget_permille=10,
    max_operations=4,
    operation_timeout_ms=300_000,
    memory_reserve_permille=100,
    overrun_ms=5000,
    link=None,
    protect=True,
    storage=True,
    steps=True,
):
    """Start the agent; where there is one, have it run again if nobody runs it any more.

    interval_ms: between samples, 20 to 600 000; budget_permille: of the core, for the agent, which
    samples more seldom where it would need more. max_operations: at once, 1 to 8;
    operation_timeout_ms: of one that names none; memory_reserve_permille: of the heap and of each
    mount that is never granted, 0 to 900; overrun_ms: how long a metered task may take more than
    its lease before it is cancelled, 0 for never. link: None for stdin and stdout (UART1 on
    mps2-an385), False for no link, or a link: `TcpServer`, `TcpClient`, or any stream that
    `select.poll` knows, such as a `machine.UART`. protect: True loads and arms all that decides,
    now; False watches only, and takes less memory: then `allocate` and the like raise RuntimeError.
    storage: False leaves it to `scan_storage()` to measure that, which takes seconds on a large
    littlefs; where it took more than 20 ms once, it is left to that, too.
    steps: False leaves asyncio's steps and tasks untimed and uncounted, which costs them nothing.

    Import `asyncio` first if the application uses it; then the agent runs as a task. Otherwise a
    `machine.Timer` runs it where the port has one; where not, call `poll()` in the application's
    loop. A policy that a host had the board store is in force instead of what is given here.
    """
    if Runner.current is None:
        limits = None
        if protect:
            limits = (max_operations, operation_timeout_ms, memory_reserve_permille, overrun_ms)
        with import_lock:
            from warden.setup import detect, may_scan, open_link, reserve_names

            board = detect()
            link = open_link(board, link)
            storage = storage and may_scan()
            agent = Agent(board, interval_ms, budget_permille, link, limits, storage, steps)
            if storage and agent.storage.deadline_s == _NEVER_S:
                from warden.extras import note_slow

                note_slow(agent, True)
        Runner.current = runner = Runner(agent)
        package = sys.modules["warden"]
        reserve_names(package)
        if protect:
            runner.spare_status = _fill_status(agent, {}, True)
            with import_lock:
                from warden.policy.decisions import install
            install(package, agent)
        if board.crashes is not None:
            board.crashes.attach(agent)
    Runner.current.start()


def stop():
    """Stop the agent and close its link; harmless when it does not run."""
    runner = Runner.current
    Runner.current = None
    if runner is not None:
        runner.stop()
        runner.agent.close()


def poll():
    """Do what is due, once; return the milliseconds until there is more."""
    runner = Runner.current
    if runner is None:
        get_runner()
    return runner.agent.poll()


def status():
    """Return the newest metrics as a dict; docs/board.md has its shape.

    age_ms: how old they are; running: whether the agent was polled in time until this call.
    With no memory for a new dict it is one that was made before, filled anew.
    """
    runner = get_runner()
    in_time = not runner.revive()
    try:
        return _fill_status(runner.agent, {}, in_time)
    except MemoryError:
        if runner.spare_status is None:
            raise
        return _fill_status(runner.agent, runner.spare_status, in_time)


def _fill_status(agent, status, running):
    """Put the newest metrics into a dict; a dict that was filled before needs no memory."""
    if not status:
        status["memory"] = {}
        status["cpu"] = {}
        status["network"] = {}
        status["overhead"] = {}
        status["system_heap"] = None if agent.system_heap is None else {}
        status["board"] = agent.board.facts
    sample = agent.sample
    total = sample.total_bytes
    free = sample.free_bytes
    metrics = status["memory"]
    metrics["total_bytes"] = total
    metrics["used_bytes"] = total - free
    metrics["available_bytes"] = free
    metrics["live_bytes"] = sample.live_bytes
    metrics["largest_free_block_bytes"] = sample.largest_free_block_bytes
    metrics["fragmentation_permille"] = fragmentation_permille(
        free, sample.largest_free_block_bytes
    )
    metrics["low_water_bytes"] = sample.low_water_bytes
    metrics["usage_permille"] = (total - free) // (total // 1000)
    metrics = status["cpu"]
    metrics["usage_permille"] = sample.cpu_permille
    metrics["active_threads"] = sample.threads
    metrics["active_tasks"] = sample.tasks
    metrics["loop_lag_ms"] = sample.loop_lag_ms
    metrics["loop_lag_worst_ms"] = sample.loop_lag_worst_ms
    metrics["uptime_s"] = sample.uptime_s
    metrics = status["network"]
    connected = sample.connected
    metrics["connected"] = None if connected is None else connected == 1
    metrics["rssi_dbm"] = sample.rssi_dbm
    metrics["sent_bytes"] = sample.sent_bytes
    metrics["received_bytes"] = sample.received_bytes
    metrics = status["overhead"]
    metrics["cpu_permille"] = sample.overhead_permille
    metrics["budget_permille"] = agent.governor.budget_permille
    metrics["bytes_per_s"] = sample.link_bytes_per_s
    metrics["dropped_frames"] = sample.dropped_frames
    if agent.system_heap is not None:
        agent.system_heap.fill(status["system_heap"])
    status["storage"] = agent.storage.mounts
    status["interval_ms"] = agent.governor.interval_ms
    status["wanted_interval_ms"] = agent.governor.wanted_interval_ms
    status["faults"] = agent.faults
    agent.clock.advance()
    status["memory"]["live_age_ms"] = agent.memory.live_age_ms()
    status["age_ms"] = -agent.clock.until_ms(sample.uptime_s, sample.uptime_ms)
    status["running"] = running
    return status


def start_monitoring(interval_ms, budget_permille=None):
    """Sample every interval_ms (20 to 600 000) from now on, as far as the budget allows."""
    running_agent().start_monitoring(interval_ms, budget_permille)


def stop_monitoring():
    """Take no more samples until `start_monitoring`; the link goes on."""
    running_agent().stop_monitoring()


def __getattr__(name):
    """Load what is public and not loaded: what is seldom used, or all that decides.

    `start()` puts what decides among the public names, so that none of its calls comes here.
    """
    found = None
    if name[0] != "_":
        with import_lock:
            from warden.public import find_public
        found = find_public(name)  # RuntimeError for what decides where the agent only watches
        if found is None:
            with import_lock:
                from warden.policy.decisions import public
            found = public().get(name)
    if found is None:
        raise AttributeError(name)
    return found
