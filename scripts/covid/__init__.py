"""Parts of `covid_dialogue.py`: a published table of results on COVID-19 dialogues, reproduced."""
