"""Values and tables as people read them: for the command line, the live view and the demo."""
