# Runs a program beside the agent: `beside.py FORM FILE`. Says after it how the agent is.
import sys

import warden

FORM, FILE = sys.argv[1:]
if FORM not in ("reruns", "polls"):
    import asyncio


def start(**options):
    """Start the agent, with samples as close to each other as may be."""
    warden.start(interval_ms=20, budget_permille=1000, **options)


def program():
    """Run the file as MicroPython does."""
    with open(FILE) as file:
        text = file.read()
    exec(compile(text, FILE, "exec"), {"__name__": "__main__"})


def watched():
    """Be an application that runs anew when it hangs."""
    start(link=False)
    warden.watchdog(60_000, "stop")
    program()


def in_thread(ended):
    """Run the program in a thread, beside the application."""
    import _thread

    def run():
        try:
            program()
        finally:
            ended.append(True)

    _thread.start_new_thread(run, ())


def polls():
    """Be an application with a loop of its own."""
    import time

    start(link=False)
    ended = []
    in_thread(ended)
    while not ended:
        time.sleep_ms(min(warden.poll(), 1))


async def turn():
    """Be an application of asyncio."""
    ended = []
    in_thread(ended)
    while not ended:
        await asyncio.sleep_ms(1)


if FORM in ("run", "reruns"):
    warden.run(watched)
elif FORM == "polls":
    polls()
elif FORM == "loop":
    start(link=False)
    asyncio.run(turn())
else:
    link = warden.TcpServer(0, open=True) if FORM == "tcp" else False
    start(link=link, protect=FORM != "measures", steps=FORM != "without-steps")
    program()
print("faults:", warden.status()["faults"])
