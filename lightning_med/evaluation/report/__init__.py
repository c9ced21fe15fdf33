"""What an evaluation found, for people: an HTML page, Markdown, the model card, TensorBoard."""
