"""What `check_tutorial.py` runs and compares."""
