"""The register of Lightning's options: what becomes of each argument, callback, logger, strategy, profiler, plugin."""
