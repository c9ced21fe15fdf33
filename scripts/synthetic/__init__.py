"""A synthetic corpus of consultations of any size, for measurements, with known defects planted and recorded.

Nothing here is real: names, numbers and addresses are invented, and the text means nothing medically.
"""
