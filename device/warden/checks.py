"""Checks arguments in one place, so that every error has the same text."""


def check_int(name, value, least, most):
    """Raise TypeError or ValueError for what is no int from least to most (None: any)."""
    if not isinstance(value, int) or value is True or value is False:  # CPython takes these for one
        raise TypeError(name + " must be an int")
    if value < least or (most is not None and value > most):
        raise ValueError("%s must be %d to %s" % (name, least, "any" if most is None else most))
