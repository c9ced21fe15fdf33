"""Cleaning of consultations, rule by rule."""
