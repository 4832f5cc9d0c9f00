"""Named threads, one of which gives way: a checksum in the background, interrupted by settings.

The main thread runs the agent in its loop. `boardwarden top` shows the threads by name, `ops` the
progress of the checksum:

    boardwarden console --board sim:examples/workers.py
    boardwarden top --board sim:examples/workers.py
"""

import hashlib
import time

import warden

# Before anything imports _thread, so that threads are counted.
warden.start(interval_ms=250, max_operations=1)

from _thread import allocate_lock  # noqa: E402

PARTS = 100
lock = allocate_lock()  # for what the threads share; the agent locks its own tables
readings = []
news = []  # to be printed by the main thread


def measure():
    """Take a reading every 10 ms, whatever the others do."""
    while True:
        with lock:
            readings.append(21.5)  # your sensor
            del readings[:-100]
        time.sleep_ms(10)


def check_firmware():
    """Compute a checksum over and over; start again after something more urgent."""
    while True:
        said = "checksum done"
        try:
            with warden.operation("checksum", priority=warden.LOW, wait_ms=5000) as op:
                digest = hashlib.sha256()
                for part in range(PARTS):
                    op.check()  # raises Preempted: nobody can stop a thread from outside
                    op.progress(1000 * part // PARTS)
                    digest.update(bytes(1024))  # your flash
                    time.sleep_ms(5)
        except warden.Preempted:
            said = f"checksum preempted at part {part}"
        except warden.Denied as error:
            said = f"checksum has to wait: {error.reason}"
        with lock:
            news.append(said)


def save_settings():
    """Write to the flash while nobody reads it."""
    with warden.operation("settings", priority=warden.HIGH):  # waits for the thread to stop
        print("settings saved")


warden.thread(measure, name="measure")
warden.thread(check_firmware, name="checksum")
save_at = time.ticks_add(time.ticks_ms(), 300)
while True:
    with lock:
        said, news = news, []
    for line in said:
        print(line)
    if time.ticks_diff(time.ticks_ms(), save_at) > 0:
        save_settings()
        save_at = time.ticks_add(time.ticks_ms(), 1000)
        threads = warden.status()["cpu"]["active_threads"]
        print(f"{threads} threads, the last reading is {readings[-1]}")
    time.sleep_ms(min(warden.poll(), 20))
