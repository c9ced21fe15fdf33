"""Sources of consultations: table files, folders, the Hugging Face Hub, Kaggle."""
