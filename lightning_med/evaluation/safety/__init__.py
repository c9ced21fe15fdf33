"""Safety of answers: what the guard finds in them, and alarms that are missing."""
