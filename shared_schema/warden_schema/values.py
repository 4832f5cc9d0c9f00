"""Reading values whose type is not known before: those of a request, and of a stored policy."""

from warden_schema.codec import Malformed, Reader


def skip(reader: Reader, count: int) -> int:
    """Step over `count` bytes; return where they begin. Raises Malformed where they are not."""
    at = reader.at
    if count > reader.end - at:
        raise Malformed  # it ends early
    reader.at = at + count
    return at


def read_array(reader: Reader) -> int:
    """Read an array's head; return how many items it claims. Raises Malformed for another type."""
    head = reader.buf[skip(reader, 1)]
    if head & 0xF0 == 0x90:
        return head & 0x0F
    if head != 0xDC:
        raise Malformed  # not an array
    at = skip(reader, 2)
    return reader.buf[at] << 8 | reader.buf[at + 1]


def read_value(reader: Reader, depth: int = 4) -> object:
    """Read any value of the codec's subset; bytes and str are copies, arrays are lists.

    depth: how many arrays may be inside each other, this one included. Raises Malformed.
    """
    at = skip(reader, 1)
    head = reader.buf[at]
    if head == 0xC2 or head == 0xC3:
        return head == 0xC3
    if head & 0xE0 == 0xA0:
        size = head & 0x1F
    elif head == 0xD9 or head == 0xC4:
        size = reader.buf[skip(reader, 1)]
    else:
        reader.at = at
        if head & 0xF0 != 0x90 and head != 0xDC:
            return reader.integer()
        if not depth:
            raise Malformed  # nested too deep
        items = []
        for _ in range(read_array(reader)):
            items.append(read_value(reader, depth - 1))
        return items
    at = skip(reader, size)
    data = reader.buf[at : reader.at]
    if head == 0xC4:
        return bytes(data)
    try:
        return str(data, "utf-8")
    except ValueError:  # UnicodeError is one, on both
        raise Malformed from None  # not UTF-8
