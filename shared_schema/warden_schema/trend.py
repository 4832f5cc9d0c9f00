"""A line through evenly spaced figures: slope, how sure it is; and when they reach a limit.

Ordinary least squares with the slope's standard error (any statistics text; e.g. NIST/SEMATECH
e-Handbook of Statistical Methods, 4.1.4.1). A slope counts as clear when it is at least three
standard errors from zero; with six points that is beyond the 95 % level of Student's t (2.78 for
four degrees of freedom).
"""

from warden_schema.rise import LONGEST_GAP, POINTS, STEPS, rise_of

MIN_POINTS = 6
CLEAR = 3.0  # standard errors


def fit(
    values: "list[int | None] | list[float | None]", step_s: float
) -> "tuple[int, float | None, float | None]":
    """Fit a line through `values`, evenly spaced by step_s seconds, None where there is none.

    Returns (points, slope per second, standard error of the slope), the last two None with fewer
    than MIN_POINTS points.
    """
    points = 0
    sum_x = sum_y = 0.0
    for x, y in enumerate(values):
        if y is not None:
            points += 1
            sum_x += x
            sum_y += y
    if points < MIN_POINTS:
        return points, None, None
    mean_x = sum_x / points
    mean_y = sum_y / points
    sxx = sxy = syy = 0.0
    for x, y in enumerate(values):
        if y is not None:
            sxx += (x - mean_x) * (x - mean_x)
            sxy += (x - mean_x) * (y - mean_y)
            syy += (y - mean_y) * (y - mean_y)
    slope = sxy / sxx
    residual = max(0.0, syy - slope * sxy)
    error = (residual / (points - 2) / sxx) ** 0.5
    return points, slope / step_s, error / step_s


def is_clear(slope: float | None, error: float | None) -> bool:
    """Tell whether a slope stands out from its scatter; False where there is none."""
    if slope is None or error is None or slope == 0:
        return False
    return abs(slope) >= CLEAR * error


def seconds_to(
    limit: float | None,
    newest: float | None,
    values: "list[int | None] | list[float | None]",
    step_s: float,
) -> float | None:
    """Return in how many seconds what is `newest` now reaches `limit`; None if it does not rise.

    `values` came before it, oldest first, evenly spaced by step_s seconds, None where there is
    none. Points of one of them and of four are tried, as `rise_of` does: the sooner counts.
    """
    soonest = None
    for width in (1, 4):
        points: list[float] = []
        ends: list[int] = []
        end = begin = len(values)  # begin: of what is known
        while end >= width and len(points) < POINTS and begin - end <= LONGEST_GAP * width:
            known = [value for value in values[end - width : end] if value is not None]
            if known:
                points.append(sum(known) / len(known))
                ends.append(end)
                begin = end - width
            end -= width
        rise = rise_of(points, len(points))
        if rise and limit is not None and newest is not None:
            seconds = max(0.0, (limit - newest) * (ends[0] - ends[STEPS]) * step_s / rise)
            soonest = seconds if soonest is None else min(soonest, seconds)
    return soonest
