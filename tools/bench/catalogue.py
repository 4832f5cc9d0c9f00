"""What each figure is: its definition, by its name without the firmware variant in front.

Names end in their unit: `_instructions` of the Cortex-M3 and `_bytes` are counted and repeat
exactly; `_permille` comes out of virtual time and repeats as well; `_ratio` and what has a second
in its unit is timed on the machine the bench ran on, and compares only within one run.
"""

from __future__ import annotations

VARIANTS = {  # name in the figures -> target of tools/build_firmware.py
    "bytecode": "qemu-bytecode",
    "stock": "qemu",
    "native": "qemu-native",
}
QUICK_VARIANTS = ("stock", "native")

_TICK = "the step that samples and sends to a listening host, at 1 Hz; a heap in slices to its end"
_POLL = "warden.poll() with nothing due and nothing heard"

# The rows of the programs in board/, by program; the unit is put behind.
ROWS = {
    "tick_watching": f"{_TICK}; no decision made yet; mean of 10",
    "tick_deciding": f"{_TICK}; policy made, tables empty; mean of 10",
    "tick_full": f"{_TICK}; 16 leases, 12 operations, 8 sessions, 8 thresholds; mean of 10",
    "poll_watching": f"{_POLL}; no decision made yet",
    "poll_deciding": f"{_POLL}; policy made, tables empty",
    "poll_full": f"{_POLL}; every row of every table taken",
    "wire_steady_sample": "the middle one of 20 samples on the wire, delimiters and CRC included",
    "wire_whole_sample": "the longest of 20 samples on the wire: a whole one",
    "wire_minute_at_1_hz": "60 samples on the wire",
    "wire_framed_sample": "the frame that part_frame and part_write work on",
    "failures_under_heap_lock": "of two ticks with the heap locked, those that failed",
    "part_gc_mem_free": "gc.mem_free(): one walk over the heap by MicroPython itself",
    "part_policy_tick": "Policy.tick(): what ends by time, in each poll; all tables full",
    "part_encode": "a sample into msgpack, as it goes out mostly",
    "part_encode_whole": "a whole sample into msgpack",
    "part_frame": "CRC and escapes of that sample",
    "part_write": "that frame into UART1",
    "part_clock": "Clock.advance()",
    "receive_nothing": "Session.receive() with nothing there",
    "receive_keepalive": "Session.receive() of a KEEPALIVE, with a sample since the last one",
    "poll_keepalive": "warden.poll() that hears one, with nothing else due",
    "begin_complete": "warden.begin('flash').complete(), tables empty",
    "complete": "the complete() of that",
    "can_execute": "warden.can_execute()",
    "allocate_release_memory": "warden.allocate(MEMORY, 1024).release()",
    "allocate_release_bandwidth": "the same of NETWORK_BANDWIDTH: nothing is measured for it",
    "refused_memory": "an allocate() of too much memory, until Denied is caught",
    "refused_memory_after_collecting": "the same when garbage was not collected lately",
    "refused_table_full": "an allocate() with 16 leases there, until Denied is caught",
    "request_ping": "PING of a host: read, carried out, answered",
    "poll_ping": "warden.poll() that does so, with nothing else due",
    "faults": "exceptions inside the agent during the program",
    "heap_used": "of the heap, at the end of tick.py",
    "heap_total": "the heap, as the agent sees it",
    "collections_by_the_agent": "in those 10 s",
    "repl_query": "gc.mem_free(), gc.mem_alloc(), json.dumps: compiled from text, run, printed",
    "repl_query_as_specified": "the specification's QueryDeviceMemoryAsync, the same way",
    "repl_nothing": "the text `pass`, the same way",
    "longest_pause": "longest poll in 10 s at 10 Hz beside 64 KB/s of garbage, without collections",
    "longest_pause_collecting": "… of those in which garbage is collected",
    "longest_pause_at_subscription": "longest of the polls that tell a new host of full tables",
    "polls_at_subscription": "how many of them, samples included",
    "mean_step": "the mean poll of the same 10 s",
    "held_import": "heap held after `import warden`",
    "held_start": "heap held after warden.start()",
    "held_decide": "heap held after the first warden.begin().complete()",
    "flash_everything": "all that is frozen of warden and warden_schema, names included",
    "flash_core": "of that, the modules imported after warden.start(), and their share of names",
    "flash_names": "of that, strings that the firmware did not have before (qstr pool)",
}
PREFIXES = {
    "part_": "in a sample: this part of Sampler.take(), all tables full",
    "held_module_": "heap that importing this module keeps, without what it imports itself",
    "held_object_": "heap that this object of the composition keeps, without what it makes itself",
    "flash_module_": "of the ELF file: this module's code, tables and constants (symbols in nm -S)",
    "slow_down_": "how much longer 10 s of integer arithmetic take beside the agent, polled as it"
    " asks and at least 10 times a second, with a host that listens",
    "repl_1": "the same work in pieces, the REPL query between them at that rate; 0.05 is 5 %",
    "host_frame": "steady samples (DELTA) fed to a connected Board, one a read or 32; best of 5"
    " times 20 000; ratio: to crc_hqx and msgpack.unpackb alone",
    "host_status": "a read of board.status; best of 5 times 10 000, or 500 after a sample each",
    "host_import": "python -X importtime -c 'import boardwarden', cumulative; best of 5",
    "sim_": "median of 60, taking turns: board.ping(), the raw REPL's `pass` and query on another"
    " such board, MicroPython's unix port; a read of board.status",
    "qemu_": "the same on the stock firmware in QEMU, in real time",
    "boards_": "so many connected boards in one process, links in memory, 60 samples each unless"
    " said: memory a board, steady samples a second over all",
    "heap_": "unix port with -X heapsize=, half filled: median tick of 40, median gc.mem_free()",
    "interval_": "the interval that the governor kept to in that run",
}
# Told, not judged: what was measured on, and parts whose sum is judged.
INFORMATIVE = (
    *("heap_used", "heap_total", "collections_by_the_agent", "polls_at_subscription"),
    *("held_module_", "held_object_", "flash_module_"),
)

_UNITS = ("_instructions_greatest", "_heap_bytes", "_instructions", "_bytes", "_count")


def definition(figure: str) -> str:
    """Of a figure's name without its variant."""
    row = figure
    for unit in _UNITS:
        if figure.endswith(unit):
            row = figure.removesuffix(unit)
            break
    if row in ROWS:
        more = ", the heap it takes" if figure.endswith("_heap_bytes") else ""
        return ROWS[row] + (", the greatest of the 10" if "greatest" in figure else more)
    for prefix, text in PREFIXES.items():
        if row.startswith(prefix):
            return text
    return ""
