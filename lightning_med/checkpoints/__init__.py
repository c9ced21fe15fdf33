"""A run's folder and its checkpoint files: where they lie, how they are read and written."""
