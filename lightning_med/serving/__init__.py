"""A trained model that answers questions."""
