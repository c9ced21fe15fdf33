"""One file for each command of ours that needs no trainer."""
