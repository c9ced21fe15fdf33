"""Cleaning of a row's text, rule by rule."""
