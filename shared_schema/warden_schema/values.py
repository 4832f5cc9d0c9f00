"""Reading values whose type is not known before: those of a request, and of a stored policy."""

from warden_schema.codec import Malformed, Reader


def read_value(reader: Reader, depth: int = 4) -> object:
    """Read any value of the codec's subset; bytes and str are copies, arrays are lists.

    depth: how many arrays may be inside each other, this one included. Raises Malformed.
    """
    at = reader.skip(1)
    head = reader.buf[at]
    if head == 0xC2 or head == 0xC3:
        return head == 0xC3
    if head & 0xE0 == 0xA0:
        size = head & 0x1F
    elif head == 0xD9 or head == 0xC4:
        size = reader.buf[reader.skip(1)]
    else:
        reader.at = at
        if head & 0xF0 != 0x90 and head != 0xDC:
            return reader.integer()
        if not depth:
            raise Malformed  # nested too deep
        items = []
        for _ in range(reader.array()):
            items.append(read_value(reader, depth - 1))
        return items
    at = reader.skip(size)
    data = reader.buf[at : reader.at]
    if head == 0xC4:
        return bytes(data)
    try:
        return str(data, "utf-8")
    except ValueError:  # UnicodeError is one, on both
        raise Malformed from None  # not UTF-8
