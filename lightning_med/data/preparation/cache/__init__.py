"""Prepared data on disk: the names of its folders, and how they are made and found."""
