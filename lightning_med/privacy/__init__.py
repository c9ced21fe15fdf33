"""Private data in text: found and replaced by placeholders."""
