"""What is measured: each module fills its own fields of a sample."""
