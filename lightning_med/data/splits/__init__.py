"""Training, validation and test sides, without leaks between them."""
