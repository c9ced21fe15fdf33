"""The optimizer of a fit, its schedule, and the steps that they take."""
