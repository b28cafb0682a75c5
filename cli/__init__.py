"""The command line: `millrace …`, one module a command."""
