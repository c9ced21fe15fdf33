"""Parts of scripts/benchmark_answering.py: what is asked, the programs that answer, memory, and the report."""
