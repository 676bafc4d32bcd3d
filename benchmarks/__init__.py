"""Speed beside every peer that can be imported: `python -m benchmarks`."""
