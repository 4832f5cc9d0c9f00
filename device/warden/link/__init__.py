"""Links: streams and sockets to a host."""
