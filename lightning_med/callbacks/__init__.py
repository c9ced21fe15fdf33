"""What happens beside training."""
