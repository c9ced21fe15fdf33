"""The network: building it, attention, loss and perplexity. Imports neither Lightning nor pandas."""
