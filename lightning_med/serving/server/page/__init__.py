"""The page of the server: a chat with the model, for people."""
