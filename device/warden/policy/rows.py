"""Looks for a row of a table."""


def find_row(rows, name, value):
    """Return the row whose entry has this value as its attribute, else a free one; None if full."""
    free = None
    for row in range(len(rows)):
        if rows[row] is not None:
            if getattr(rows[row], name) == value:
                return row
        elif free is None:
            free = row
    return free
