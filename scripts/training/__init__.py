"""The contenders of benchmark_training, and what all of them are given."""
