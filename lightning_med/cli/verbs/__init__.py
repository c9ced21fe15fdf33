"""The commands that need no trainer, one file each."""
