"""How likely a model finds the reference answers."""
