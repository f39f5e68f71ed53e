"""The ways in: the command line, later HTTP and a page. The only code that knows users."""
