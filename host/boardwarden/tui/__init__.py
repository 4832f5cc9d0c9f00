"""The live view that `boardwarden watch` shows on a terminal; needs the extra `tui` (Textual)."""
