"""A run's folder and its checkpoint files: where they are, and how they are read and written."""
