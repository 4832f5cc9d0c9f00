"""The board's state on the host: filled by the session, read without I/O."""
