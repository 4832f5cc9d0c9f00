"""Pictures of recordings, by matplotlib: the extra `plot`."""
