"""The web page of `boardwarden serve`: the fleet at a glance, a board in depth."""
