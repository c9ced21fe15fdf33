"""How good models are: likelihood, text, memory, manner and safety of their answers, with intervals and baselines."""
