"""Links: where frames go and requests come from."""
