"""A policy for the boards of a broker: group by group, until one of them gets worse."""
