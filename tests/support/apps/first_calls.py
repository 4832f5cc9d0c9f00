# The first calls after start(), from four threads at once. Prints what was wrong, or "well".
import _thread
import gc
import sys
import time

import warden

gc.disable()  # the unix port's collector does not stop the other threads while it marks
warden.start(interval_ms=20, budget_permille=1000, link=False, max_operations=8)
# One place for each thread: without a GIL, two appends at once to one list lose one of them.
ready = bytearray(4)
ended = bytearray(4)
go = bytearray(1)
wrong = []


def operate():
    with warden.operation("op", memory=100) as op:
        op.check()
        op.progress(500)


def allocate():
    lease = warden.allocate(warden.MEMORY, 100, priority=warden.HIGH)
    lease.commit()
    lease.release()


def own():
    with warden.session("s", memory=1000) as session:
        warden.allocate(warden.MEMORY, 10, session=session)


def guard():
    warden.guarded("guarded")(look)()


def look():
    warden.status()
    warden.can_execute(warden.LOW)
    warden.operations()
    warden.allocations()
    warden.thresholds()
    warden.poll()


def report():
    warden.trends(60_000)


calls = [operate, allocate, own, guard, look, report]


def work(index):
    ready[index] = 1
    while not go[0]:
        pass
    for place in range(len(calls)):
        call = calls[(index * int(sys.argv[1]) + place) % len(calls)]
        try:
            call()
        except warden.Denied as error:
            if error.reason not in ("operations", "table", "memory"):
                wrong.append((call.__name__, error.reason))
        except Exception as error:
            wrong.append((call.__name__, type(error).__name__, str(error)))
    ended[index] = 1


for index in range(4):
    _thread.start_new_thread(work, (index,))
while not all(ready):
    time.sleep_ms(1)
go[0] = 1
began = time.ticks_ms()
while not all(ended) and time.ticks_diff(time.ticks_ms(), began) < 10_000:
    warden.poll()
    time.sleep_ms(1)
if not all(ended):
    wrong.append("a deadlock")
left = [len(warden.operations()), len(warden.allocations())]
if left != [0, 0]:
    wrong.append(left)
faults = warden.status()["faults"]
if faults:
    wrong.append((faults, "faults"))
print(wrong or "well")
