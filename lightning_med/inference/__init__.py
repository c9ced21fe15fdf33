"""Generation from a network; between training and {data, model}."""
