"""Message kinds, field orders, limits and reasons: what both sides must agree on.

Board code on the hot path redeclares what it needs with `const()` (an imported constant is a
global look-up on MicroPython); `tests/protocol/test_schema_constants.py` holds those equal to
these. `docs/wire.md` explains them.
"""


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# The protocol's version. Another major: refused by both sides. Another minor: only additions,
# so unknown kinds are counted and skipped and unknown trailing fields are ignored.
PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 8

# --- limits (bytes, counts) -------------------------------------------------------------------
MAX_PAYLOAD = 200  # board to host
MAX_WIRE = 406  # the longest frame: every byte of the longest payload and its CRC escaped
MAX_REQUEST = 128  # host to board, payload
MAX_PENDING = 4  # requests that a host may have under way; the board keeps so many replies
MAX_DEPTH = 4  # nesting of arrays in a payload, the message's own array included
MAX_NAME = 24  # UTF-8 bytes of a name; longer ones are cut at a character
MAX_MOUNTS = 4  # rows of the storage table
WINDOW_FRAMES = 16  # frames the board remembers the lengths of, to understand acknowledgements
WINDOW_BYTES = 256  # sent and not acknowledged, on a link that cannot tell how much it still takes

# --- frames ---------------------------------------------------------------------------------------
DELIMITER = 0xC0
ESCAPE = 0x7D  # and then the byte XOR 0x20
ESCAPED_CONTROLS = b"\x00\x01\x02\x03\x04\x05\x0a\x0d\x11\x13\x1a\x1c"

# --- times (milliseconds) -----------------------------------------------------------------------
KEEPALIVE_MS = 1000  # a host says that it is there this often
SILENCE_MS = 3000  # and the board goes silent after so long without it
MIN_INTERVAL_MS = 20
MAX_INTERVAL_MS = 600_000

# --- kinds, board to host: 1 to 63 ----------------------------------------------------------------
HELLO = 1
REFUSED = 2
SAMPLE = 3
STORAGE = 4
SYNCED = 5
ALIVE = 6
REPLY = 7
LEASE = 8
OPERATION = 9
SESSION = 10
EVENT = 11
ROWS = 12
THRESHOLD = 13
METER = 14
NEED = 15
DELTA = 16
SYSTEM_HEAP = 17
EXCEPTION = 18
RESTART = 19
ASLEEP = 20
CHALLENGE = 22
PROVED = 23
KEY_REFUSED = 24

# --- kinds, host to board: 64 to 127 --------------------------------------------------------------
SUBSCRIBE = 64
UNSUBSCRIBE = 65
KEEPALIVE = 66
REQUEST = 67
GREETING = 68
PROOF = 69

FIRST_HOST_KIND = 64

# --- keys: docs/security.md -----------------------------------------------------------------------
KEYS_VERSION = 1  # of the handshake
NO_KEY = 0  # what a host without a key has: figures only, where the board allows it
OBSERVE = 1
CONTROL = 2
RIGHTS = ("no key", "observe", "control")
KEY_BYTES = 32
NONCE_BYTES = 16
COUNTER_BYTES = 4  # of 30 bits, big-endian; behind the array of a signed payload,
MAC_BYTES = 8  # and the first bytes of the HMAC behind it
NEEDED = 1  # reasons of KEY_REFUSED: no key was proved,
WRONG = 2  # the proof is wrong,
OTHER_VERSION = 3
NO_RIGHT = 4  # the board has no key of that right,
NO_NONCE = 5  # or nothing to make a nonce of

# The fields after the kind, in wire order. New ones are only ever added at the end.
FIELDS = {
    HELLO: _names("seq major minor host_id boot_id identity limits capabilities"),
    REFUSED: _names("seq major minor host_id places"),
    SAMPLE: _names("seq values"),
    STORAGE: _names("seq index count mount block_bytes blocks free_blocks available_blocks writes"),
    SYNCED: _names("seq host_id"),
    ALIVE: _names("seq"),
    REPLY: _names("seq request_id code value host_id"),  # whom it answers, on one stream for all
    LEASE: _names(
        "seq row id resource amount owner priority session granted_s left_ms committed mount"
    ),
    OPERATION: _names(
        "seq row id name priority state permille text session began_s left_ms memory why"
    ),
    SESSION: _names("seq row id name memory storage operations left_ms"),
    EVENT: _names("seq number kind s ms subject detail value"),
    ROWS: _names("seq leases operations sessions limits thresholds meters needs"),
    THRESHOLD: _names("seq row metric warn critical clear hold_ms action level value"),
    METER: _names("seq row id name kind priority cpu_permille worst_ms steps lease"),
    NEED: _names("seq row name count typical_bytes worst_bytes"),
    DELTA: _names("seq since mask ms"),  # and the changes
    ASLEEP: _names("seq"),
    CHALLENGE: _names("seq version unique_id boot_id nonce host_id"),
    PROVED: _names("seq proof host_id"),
    KEY_REFUSED: _names("seq reason host_id"),
    SYSTEM_HEAP: _names("seq free_bytes largest_free_block_bytes low_water_bytes"),
    EXCEPTION: _names("seq row id kind name count uptime_s text"),
    RESTART: _names(
        "seq row id cause flags count boot uptime_s who live largest lag_ms level text"
    ),
    SUBSCRIBE: _names("major minor host_id events_from"),
    UNSUBSCRIBE: _names("host_id"),
    KEEPALIVE: _names("host_id ack_seq"),
    REQUEST: _names("host_id request_id operation arguments"),
    GREETING: _names("version right nonce host_id"),
    PROOF: _names("proof former_proof host_id"),
}

IDENTITY = (
    "machine",
    "firmware",
    "port",
    "unique_id",  # bytes; empty where the port has none
    "reset_cause",
    "agent",
    "boots",  # that the board counted, this one included, and
    "crash_free_s",  # its uptime before this boot without a crash; both only where it keeps resets
)
# What the agent writes to flash: the counts of STORAGE's `writes`, of the mount that has its files.
AGENT_WRITES = ("resets", "policy", "note", "budget")
LIMITS = ("max_payload", "max_request", "max_pending", "max_mounts")

# SAMPLE values, in wire order: integers, or None where the board cannot tell (the capability of
# the same name then holds the reason).
SAMPLE_VALUES = (
    "uptime_s",  # seconds since the agent started counting, and
    "uptime_ms",  # the milliseconds of the running second, 0 to 999
    "interval_ms",  # between two samples now; 0: monitoring is stopped
    "total_bytes",  # the MicroPython heap
    "free_bytes",
    "live_bytes",  # what the last collection left
    "largest_free_block_bytes",
    "cpu_permille",
    "loop_lag_ms",  # mean, over the time since the last sample
    "loop_lag_worst_ms",
    "tasks",
    "threads",
    "connected",  # 0 or 1
    "rssi_dbm",
    "sent_bytes",  # modulo 2**30, as
    "received_bytes",
    "overhead_permille",  # the agent's own share of the core
    "link_bytes_per_s",
    "dropped_frames",
    "skipped_frames",  # from the host: whole, but of a kind this board does not know
    "bad_frames",  # from the host: broken
    "faults",  # exceptions inside the agent itself
    "wanted_interval_ms",  # what was asked for; interval_ms is longer where the budget needs that
    "budget_permille",  # of the core, for the agent
    "low_water_bytes",  # the least that live bytes ever left of the heap
)

# A DELTA is a sample told by what changed since another one. Its mask has a bit for each of these
# values, those that change most often first; the uptime goes as `ms`. All others of SAMPLE_VALUES
# have not changed, or a SAMPLE is sent.
DELTA_VALUES = _names(
    "free_bytes cpu_permille overhead_permille loop_lag_worst_ms loop_lag_ms live_bytes "
    "link_bytes_per_s tasks rssi_dbm sent_bytes received_bytes largest_free_block_bytes "
    "threads connected dropped_frames skipped_frames bad_frames faults"
)
DELTA_BIAS = 48  # added to since, ms and the changes: small ones are one byte, and no control byte
MAX_CHANGES = 10
WHOLE_EVERY = 20  # samples: so that who only listens can join

# --- requests -----------------------------------------------------------------------------------
PING = 0  # [] -> None
START_MONITORING = 1  # [interval_ms, budget_permille] -> interval_ms
STOP_MONITORING = 2  # [] -> None
HISTORY_READ = 3  # [tier, metric, statistic] -> [newest_s, step_s, scale, little-endian uint16s]
ALLOCATE = 4  # [resource, amount, owner, priority, ttl_ms, mount] -> id
RELEASE = 5  # [id] -> nil
BEGIN = 6  # [name, priority, timeout_ms, memory, wait_ms] -> [id, state]
COMPLETE = 7  # [id] -> nil
CAN_EXECUTE = 8  # [priority] -> bool
SET_LIMITS = 9  # the four of LIMITS_SET, nil: as it is -> all four
SET_THRESHOLD = 10  # [metric, warn, critical, clear, hold_ms, action], no levels: none any more
CANCEL = 11  # [operation's id] -> nil
TELL_METERS = 12  # [for_ms] -> nil
# 13 was COST, and is not given to another.
KEEP = 14  # [what: one of KEEPING] -> [how it stands: one of KEPT, count of quotas]
COLLECT = 15  # [] -> bytes that were garbage
QUOTA = 16  # [place] -> [name, memory, storage, operations, ttl_ms], nil where there is none
SET_QUOTA = 17  # [name, memory, storage, operations, ttl_ms], no figures: none any more -> nil
SAFE_MODE = 18  # [whether to try the application again] -> whether it is in safe mode

# --- what is granted ----------------------------------------------------------------------------
RESOURCES = ("memory", "storage", "cpu_time", "network_bandwidth")
PRIORITIES = ("low", "normal", "high", "critical")
OPERATION_STATES = ("waiting", "active", "stopping", "overdue", "admitting", "ended")
LIMITS_SET = ("max_operations", "operation_timeout_ms", "memory_reserve_permille", "overrun_ms")
MAX_LEASES = 16
MAX_OPERATION_ROWS = 12
MAX_SESSIONS = 8
MAX_EVENTS = 16  # that the board remembers
MAX_THRESHOLDS = 8
MAX_METERS = 16
MAX_NEEDS = 8
MAX_EXCEPTIONS = 5  # that the board keeps
MAX_RESETS = 10
RESET_INFERRED = 1  # flags of a RESTART: the board inferred the cause from its record,
RESET_EXPECTED = 2  # and there is nothing wrong with it
MAX_QUOTAS = 8  # that a policy has for sessions, by name
DEFAULT_TTL_MS = 60_000  # of a lease whose request names none
HOST_SESSION_MS = 10_000  # a host's session ends so long after its last sign of life

# --- what is watched ------------------------------------------------------------------------------
# A threshold's metric, by its place here, and its unit on the board and on the wire; a host's user
# reads permille as a fraction of one and milliseconds as seconds.
THRESHOLD_METRICS = {
    "memory": "permille",  # live bytes of the heap
    "memory_exhausted_in": "s",  # at the rate of the last minute or hour, whichever is sooner
    "storage": "permille",  # of the first mount
    "storage_exhausted_in": "s",
    "cpu": "permille",
    "loop_lag": "ms",  # mean, over the time since the last sample
    "loop_lag_worst": "ms",
    "available_bytes": "bytes",  # of the heap, garbage not counted as available
    "live_bytes": "bytes",
    "largest_free_block_bytes": "bytes",
    "tasks": "count",
    "threads": "count",
    "connected": "count",  # 0 or 1
    "rssi_dbm": "dbm",
    "overhead": "permille",
    "link_bytes_per_s": "bytes_per_s",
    "dropped_frames": "count",
    "bad_frames": "count",
    "faults": "count",
    "fragmentation": "permille",  # of the free memory, outside the largest free block
    "system_heap_free_bytes": "bytes",  # of an ESP32's other heap
    "system_heap_largest_free_block_bytes": "bytes",
    "system_heap_low_water_bytes": "bytes",
}
# The threshold that a board has by default: metric, warn, critical, clear, hold_ms, action.
DEFAULT_THRESHOLD = ("memory", 750, 850, 650, 0, 1)
# "write" is refused where the policy would act at once, "insist" is not.
KEEPING = ("tell", "write", "forget", "insist")
KEPT = ("nothing", "in_force", "broken", "set_aside")
LEVELS = ("clear", "warn", "critical")
ACTIONS = ("tell", "protect", "reset")
METER_KINDS = ("task", "thread")
# What an exception ended; "hang": the watchdog interrupted the application, by KeyboardInterrupt.
EXCEPTION_KINDS = ("task", "thread", "callback", "application", "hang")
HANG_STEPS = ("begun", "over", "stopped", "reset", "late")  # the subject of the event "hang"
# What EVENT calls what happened, and what subject, detail and value then are.
EVENT_KINDS = {
    "lease": "id, why it ended, amount",
    "operation": "id, what became of it",
    "session": "id, closed",
    "denied": "id of the session whose quota it was or nil, reason, amount asked for",
    "threshold": "metric, level, figure",
    "collect": "metric, nil, bytes that were garbage",
    "trim": "metric, name of the function, bytes it gave back",
    "reset": "metric, about to or done, figure",
    "overrun": "lease's id, task's name, permille it took",
    "link": "nil, lost or found",
    "policy": "nil, what became of the kept policy",
    "callback_failed": "id or nil, the exception's name or coroutine, how often it came",
    "safe": "nil, waiting, bad boots in a row",
    "hang": "a place in HANG_STEPS, the task and the operation or the check-in, for how many ms",
    "budget": "nil, the file whose budget is used up, the budget",
    "exception": "what it ended, the task's or thread's name and the exception's, how often",
    "agent": "nil, late, ms without a sample",
    "key": "nil, the last address with a wrong key, how many there were since the last such event",
}

# --- reply codes ----------------------------------------------------------------------------------
OK = 0
UNKNOWN_REQUEST = 1
BAD_ARGUMENTS = 2
FAILED = 3  # the board's code raised; value is the exception's type
DENIED = 4  # value: reason, available, retry_after_ms, blockers (ids)
NOT_FOUND = 5  # no lease or operation of that id

# --- history --------------------------------------------------------------------------------------
TIERS = ((1, 60), (60, 60), (3600, 24))  # (seconds a slot, slots)
METRICS = ("live_bytes", "cpu_permille", "loop_lag_ms", "storage_used_bytes")
STATISTICS = ("min", "mean", "max")
NO_VALUE = 0xFFFF

# --- capabilities ---------------------------------------------------------------------------------
# HELLO carries one byte for each, in this order: 0 is available, anything else the reason why not.
CAPABILITIES = _names(
    "memory live_memory largest_free_block cpu loop_lag tasks threads storage wlan rssi "
    "network_bytes reset_cause unique_id timer system_heap hang hang_line hardware_watchdog"
)
# Behind these, from a board whose link is over MQTT; others send no byte for it.
MQTT_CAPABILITIES = ("last_will",)
AVAILABLE = 0
REASONS = {
    AVAILABLE: "available",
    1: "this firmware does not have the module for it",
    2: "the C module _warden, which reads the allocation table, is not in this firmware",
    3: "the application has not started asyncio",
    4: "it was in use before warden.start(), so it cannot be counted",
    5: "nothing is mounted",
    6: "the port does not report it",
    7: "there is no WLAN connection",
    8: "no socket is counted yet: wrap it with warden.counted()",
    9: "no collection has been seen yet",
    10: "storage was not measured yet: warden.scan_storage() does it",
    11: "this board does not run the agent's machine code, which reads the heap's table, and its "
    "firmware does not have the C module _warden",
    12: "when the agent started there was no memory to find the heap's table with",
    13: "the heap's table was not found: the heap grows, or is in several areas",
    14: "the application has not requested it with warden.watchdog()",
    15: "this port has neither a virtual timer nor threads: a hang is reported when it is over",
    16: "this firmware has no way to interrupt its main program",
    17: "os.dupterm, by which the main program is interrupted, is in use",
    18: "the file system, or the port, reports figures that cannot be",
    19: "the application has turned it off: warden.start(steps=False)",
    20: "the application has a last will of its own, so the broker does not say that the board is "
    "gone: 25 s without a frame do",
}
NO_MODULE = 1
NO_NATIVE = 2
NO_ASYNCIO = 3
IMPORTED_EARLY = 4
NOTHING_MOUNTED = 5
NOT_REPORTED = 6
NOT_CONNECTED = 7
NOT_COUNTED = 8
NO_COLLECTION = 9
NO_SCAN = 10
NO_MACHINE_CODE = 11
NO_ROOM_FOR_PROBES = 12
NO_HEAP_TABLE = 13
NO_WATCHDOG = 14
NO_TICKER = 15
NO_INTERRUPT = 16
NO_SLOT = 17
IMPOSSIBLE = 18
TURNED_OFF = 19
OWN_WILL = 20

# machine.reset_cause() differs between ports; these are its documented names.
RESET_CAUSES = ("power_on", "hard", "watchdog", "deep_sleep", "soft")
