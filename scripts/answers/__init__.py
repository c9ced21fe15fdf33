"""Parts of scripts/compare_answers.py: models, questions, measures of text, and blind judging."""
