"""Speed and quality, measured on the machine at hand. Not packaged. `python -m benchmarks` runs what can run here."""
