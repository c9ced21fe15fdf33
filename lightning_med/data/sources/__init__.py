"""Reads rows from table files, folders, the Hugging Face Hub and Kaggle."""
