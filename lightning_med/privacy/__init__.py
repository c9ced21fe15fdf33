"""Detection of private data in text, and its replacement by placeholders."""
