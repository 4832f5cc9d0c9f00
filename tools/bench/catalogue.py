"""What each figure is, by its name without the firmware variant in front.

Names end in their unit: `_instructions` of the Cortex-M3 and `_bytes` are counted and repeat
exactly; `_permille` comes out of virtual time and repeats as well; `_ratio` and what has a second
in its unit is timed on the machine the bench ran on, and compares only within one run.
"""

from __future__ import annotations

VARIANTS = {  # name in the figures -> target of tools/build_firmware.py
    "stock": "qemu",
    "native": "qemu-native",
    "asyncio": "qemu-asyncio",
}

_TICK = "the poll that takes a sample and sends it to a listening host at 1 Hz, mean of 20"
_BEYOND = "of that, what is not reading the heap"
_AGENTS = {"watching": "start(protect=False)", "full": "every row of every table taken"}

_WHAT = {
    **{f"tick_{state}_instructions": f"{_TICK}; {what}" for state, what in _AGENTS.items()},
    **{f"tick_{state}_beyond_instructions": _BEYOND for state in _AGENTS},
    **{f"tick_{state}_greatest_beyond_instructions": "the greatest of the 20" for state in _AGENTS},
    **{f"tick_{state}_heap_bytes": "heap that a tick takes, at most" for state in _AGENTS},
    **{
        f"heap_walk_{state}_instructions": "one pass over the heap's table"
        for state in _AGENTS
    },
    **{f"poll_{state}_instructions": f"warden.poll() with nothing due; {_AGENTS[state]}"
       for state in _AGENTS},
    "wire_steady_sample_bytes": "the middle one of 20 samples on the wire, all tables full",
    "wire_whole_sample_bytes": "the longest of 20 samples on the wire: a whole one",
    **{f"failures_under_heap_lock_{state}_count": "of two ticks with the heap locked, those that"
       " failed" for state in _AGENTS},
    **{f"faults_{state}_count": "exceptions inside the agent in these runs" for state in _AGENTS},
    "first_begin_complete_instructions": "the first begin('…').complete() after start(), two looks"
    " at the heap included",
    "begin_complete_instructions": "warden.begin('…').complete() of a name that is known",
    "allocate_release_instructions": "warden.allocate(NETWORK_BANDWIDTH, …).release()",
    "can_execute_instructions": "warden.can_execute()",
    "refused_instructions": "an allocate() of too much memory, until Denied is caught",
    "keepalive_instructions": "warden.poll() that hears a host's KEEPALIVE, nothing else due",
    "request_instructions": "warden.poll() that hears a PING, and answers it",
    "keys_handshake_instructions": "two warden.poll() that hear and answer GREETING and PROOF",
    "keys_handshake_heap_bytes": "what these allocate in all, nothing collected",
    "keys_handshake_peak_bytes": "what is in use at each of their hashes, at most, beyond what was"
    " before the first",
    "keys_request_without_instructions": "the same as request, of the one host of a TcpServer",
    "keys_request_without_heap_bytes": "what that allocates, nothing collected",
    "keys_request_instructions": "that, of a host that has proved a key: both ways signed",
    "keys_request_heap_bytes": "what that allocates, nothing collected",
    "longest_pause_instructions": "longest poll in 10 s at 10 Hz beside 64 KB/s of garbage",
    "longest_pause_collecting_instructions": "… of those in which garbage is collected",
    "longest_pause_at_subscription_instructions": "longest of the polls that send all tables, full",
    "subscription_instructions": "these polls together",
    "polls_at_subscription_count": "how many they are",
    "faults_count": "exceptions inside the agent in these runs",
    "flash_everything_bytes": "all that is frozen of warden and warden_schema, names included",
    "flash_core_bytes": "of that, what start(protect=False) imports, and its share of the names",
    "flash_names_bytes": "of that, strings that the firmware did not have before (qstr pool)",
    "code_lines": "lines of device/warden and warden_schema, without comments and docstrings",
}  # fmt: skip
_HEAP = "_heap_bytes"
_PREFIXES = {
    "flash_part_": "of the ELF file: this part's code, tables and constants (symbols in nm -S)",
    "slow_down_": "how much longer 10 s of integer arithmetic take beside the agent at that rate,"
    " polled as it asks and at least 10 times a second, with a host that listens",
    "interval_": "the interval that the governor kept to in that run",
    **{
        f"asyncio_{row}_{way}": f"{what}; {beside}"
        for row, what in (
            ("step", "a task's step: await asyncio.sleep_ms(0)"),
            ("read", "a byte read from a stream that has one"),
            ("wake", "a task wakes another by an Event, and is woken"),
            ("task", "a task that ends at once, made and awaited"),
            ("http", "a request to a small server, in a task, answered"),
            ("http_load", "of 1 000 of them, collections and a sample a second included"),
            ("microdot", "a request to microdot, in a task, answered"),
        )
        for way, beside in (
            ("alone", "no agent"),
            ("watched", "beside the agent"),
            ("untimed", "beside the agent, start(steps=False)"),
        )
    },
    "peer_": "heap that `import` takes on a board of 32 bits, with bytecode only",
    "host_frame": "steady samples (DELTA) fed to a connected Board, one a read or 32; best of 5"
    " times 20 000; ratio: to crc_hqx and msgpack.unpackb alone",
    "host_status": "a read of board.status; best of 5 times 10 000, or 500 after a sample each",
    "host_import": "python -X importtime -c 'import boardwarden.board', sums; best of 5",
    "sim_": "median of 60, taking turns: board.ping(), the raw REPL's `pass` and query on another"
    " such board, MicroPython's unix port; a read of board.status",
    "qemu_": "the same on the stock firmware in QEMU, in real time",
    "boards_": "so many connected boards in one process, links in memory, 60 samples each unless"
    " said: memory a board, steady samples a second over all",
}
# Told, not judged: parts whose sum is judged.
_INFORMATIVE = (
    *("polls_at_subscription", "flash_part_", "heap_walk_", "first_begin", "interval_", "peer_"),
    *(f"asyncio_{row}_alone" for row in ("step", "read", "wake", "task", "http", "microdot")),
)


def definition(figure: str) -> str:
    """What a figure is; "" for one that is not known."""
    _, _, row = figure.rpartition(".")
    if row in _WHAT:
        return _WHAT[row]
    if row.endswith(_HEAP):
        return "heap that it leaves behind"
    return next((text for prefix, text in _PREFIXES.items() if row.startswith(prefix)), "")


def is_judged(figure: str) -> bool:
    """Whether more of it is worse; the others only tell what was measured."""
    return not figure.rpartition(".")[2].startswith(_INFORMATIVE)
