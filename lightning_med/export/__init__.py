"""Other forms of a trained model: the Hugging Face folder and its model card."""
