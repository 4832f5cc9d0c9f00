"""Checks arguments in one place, so that every error has the same text."""


def check_int(name, value, least, most):
    """Raise TypeError or ValueError for what is no int from least to most (None: any)."""
    if type(value) is not int:  # nor a bool, which is one
        raise TypeError(name + " must be an int")
    if value < least or (most is not None and value > most):
        raise ValueError("%s must be %d to %s" % (name, least, "any" if most is None else most))


def check_callback(function):
    """Raise TypeError for an `async def`, which nobody would await, as far as that can be seen."""
    # That is the type of a generator's function, too; on CPython it is that of any function.
    kind = type(lambda: (yield))
    if isinstance(function, kind) and kind is not type(check_callback):
        raise TypeError("an async function cannot be called back")
