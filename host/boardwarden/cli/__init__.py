"""The command line: `app` has the commands, and names the module of each."""
