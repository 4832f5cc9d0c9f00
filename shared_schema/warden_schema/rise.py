"""Whether figures rise clearly, and by how much: the one rule of all forecasts, on both sides.

Of the last points nearly each has to be higher than all before it: by chance no more than six
pairs of fourteen would be in the wrong order once in 3.6 million times (Kendall's rank
correlation). A pair of equal ones counts half: points of three and three, as where something is
allocated each third second, have thirteen such pairs. And the newest have to rise half as fast as
the others at least: what has been filled rises no more.
"""

POINTS = 14
STEPS = 9  # the rise is that of so many
LONGEST_GAP = 5  # of points that are not known; those before a longer one do not count
_MOST_LOST = 13  # two for a pair that falls, one for a pair that is equal


def rise_of(points: "list[int] | list[float]", count: int) -> "int | float | None":
    """Return by how much the first `count` points, newest first, have risen over STEPS steps.

    0 where they do not rise clearly, None where there are too few. Allocates nothing for integers.
    """
    if count <= STEPS:
        return None
    rise = points[0] - points[STEPS]
    if rise <= 0 or (points[0] - points[3]) * 6 < rise:
        return 0
    lost = 0
    least = points[0]
    older = 1
    while older < count:
        value = points[older]
        if value < least:  # as mostly where something rises: no pair with it is lost
            least = value
        else:
            newer = 0
            while newer < older:
                if points[newer] <= value:
                    lost += 1 if points[newer] == value else 2
                newer += 1
            if lost > _MOST_LOST:
                return 0
        older += 1
    return rise
