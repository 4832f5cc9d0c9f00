"""The lock of all that is granted, where the port has threads."""

from warden.sensors.threads import get_ident


class DecisionLock:
    """A lock for `with`; RuntimeError where a callback would wait for what it interrupts, for ever.

    A soft callback of a Timer or a Pin runs inside whatever its thread does, which may have the
    lock. Made by `warden.policy_setup`; acquire and release are those of the port's lock, and
    `thread` the one that has it, as far as known.
    """

    def __enter__(self):
        try:
            thread = get_ident()
            if self.thread == thread:
                raise RuntimeError("callback")
        except MemoryError:  # the number of a thread may be one of more than 30 bits
            thread = None
        self.acquire()
        self.thread = thread

    def __exit__(self, kind, error, trace):
        self.thread = None
        self.release()
