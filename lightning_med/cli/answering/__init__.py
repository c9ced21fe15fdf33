"""What the verbs that answer with a model share: options, the choice of an engine, the terminal."""
