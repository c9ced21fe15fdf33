"""From table files to cleaned rows, and from cleaned rows to tokens on disk."""
