"""From statistics to the content of `metrics.json`: differences, findings, breakdowns, examples."""
