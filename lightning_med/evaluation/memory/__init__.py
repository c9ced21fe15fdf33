"""Memory of the training data: verbatim copies, private data, and exposure of canaries."""
