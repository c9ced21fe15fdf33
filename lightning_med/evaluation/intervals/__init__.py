"""How sure a value, or a difference of two models, is, given the rows: intervals, tests, and the rows needed."""
