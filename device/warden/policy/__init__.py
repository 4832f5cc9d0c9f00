"""What the board decides."""
