"""What keeps a patient's consultation out of harm's way before a model learns from it."""
