"""Memory: what is free, what the allocator and the kernels keep, and when garbage is collected."""
