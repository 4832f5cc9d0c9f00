"""Finding out how a board and the way to it are, without changing either."""
