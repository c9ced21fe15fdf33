"""What trains and measures triage."""
