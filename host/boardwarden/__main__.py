"""`python -m boardwarden`: the same as the command `boardwarden`."""

from .cli import main

if __name__ == "__main__":
    main()
