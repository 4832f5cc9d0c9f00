"""Starting and reading the one agent of this board; what else is public is loaded at its first use.

Each public function checks whether something is overdue, because nobody runs the agent any more,
and runs it: see `running`.
"""

from warden.runner import Runner
from warden.running import get_runner, running_agent
from warden.sensors.threads import import_lock


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
    mps2-an385), False for no link, or a link: `TcpServer`, or any stream that
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
            from warden.launch import launch
        launch(interval_ms, budget_permille, limits, link, storage, steps)
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
        return runner.agent.fill_status({}, in_time)
    except MemoryError:
        if runner.spare_status is None:
            raise
        return runner.agent.fill_status(runner.spare_status, in_time)


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
    if name[0] == "_":
        raise AttributeError(name)
    with import_lock:
        from warden.public import find_public
    return find_public(name)
