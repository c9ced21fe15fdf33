"""Networks only: loading, attention, loss. No Lightning, no pandas."""
