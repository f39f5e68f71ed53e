"""One module per format version."""
