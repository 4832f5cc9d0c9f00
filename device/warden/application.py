"""Runs the application, and keeps what ends it: `warden.run()`."""

from micropython import const

from warden.crashes import Crashes
from warden.sensors.threads import import_lock

_HAS_ENDED = const(1)  # a state of the record, as in `crashes`
_APPLICATION = const(3)  # of ids.EXCEPTION_KINDS


def run(main, link=None, retry_s=60):
    """Run the application, and keep the exception that ends it; return what it returns.

    main: a function, async or not, a coroutine, the name of a module to import, or that of a file,
    "….py", which is run as MicroPython runs main.py. link: a function that brings up the network
    and returns a link for `warden.start()`, which is then called here, before main; None: main
    starts the agent itself. After three bad boots in a row main does not
    run before the agent has answered for retry_s seconds, twice as long after each further one, an
    hour at most.
    """
    crashes = Crashes.current  # which an earlier call has set up
    try:
        with import_lock:
            from warden.crash_setup import begin
        crashes, function, args = begin(main, link, retry_s)
        begin = None  # its module is let go
    except MemoryError:  # not this ends it, where what keeps its exception is there
        if crashes is None or crashes.is_safe or not callable(main):
            raise
        function = crashes.main = main
        args = ()
    must_feed = True
    try:
        while True:
            crashes.enter(crashes.running, False)
            try:
                result = function(*args)
                if hasattr(result, "throw"):  # a coroutine
                    result = __import__("asyncio").run(result)
                break
            except BaseException as error:  # asyncio's CancelledError, too
                # Two calls, for their tuple would be a block of a heap that may be full.
                if isinstance(error, KeyboardInterrupt) or isinstance(error, SystemExit):
                    # Ctrl-C, or the watchdog's: then main is to run anew.
                    action = crashes.watchdog and crashes.watchdog.action
                    if action is not None and action.act(error):
                        continue
                    crashes.enter(_HAS_ENDED, False)
                else:
                    must_feed = False  # the hardware watchdog is what restarts the board now
                    crashes.board.collect()  # most of what the application had is garbage now
                    crashes.keep(error, _APPLICATION, None)
                raise
    finally:
        crashes.main = None
        if crashes.watchdog is not None:
            crashes.watchdog.end(must_feed)
    crashes.enter(_HAS_ENDED, False)
    return result
