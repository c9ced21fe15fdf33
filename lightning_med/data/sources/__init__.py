"""Where rows come from: table files, folders, the Hugging Face Hub, Kaggle."""
