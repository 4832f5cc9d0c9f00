"""How long a random campaign is: short in `make test`, its whole length in `make soak`."""

import os

WHOLE = os.environ.get("SOAK") == "1"


def of(whole: int, short: int) -> int:
    """Return how many rounds to run."""
    return whole if WHOLE else short
