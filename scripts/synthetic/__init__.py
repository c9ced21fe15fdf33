"""Synthetic consultations for measurements: any number, with what is wrong in real ones planted and written down.

Nothing here is real: names, numbers and addresses are invented, and medically the text means nothing.
"""
