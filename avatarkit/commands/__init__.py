"""One file per command: options, messages and exit codes; no mathematics."""
