"""Faults injected into real runs, and checks of how the runs handle them."""
