"""The contenders of benchmark_training, and what they share."""
