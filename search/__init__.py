"""Questions in: the syntax of filters, candidates, hits."""
