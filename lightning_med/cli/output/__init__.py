"""What a command prints at its end: results, the next command, a table, one JSON object for programs."""
