"""What a text is made of: normal form, sentences with offsets, passages, terms. Knows no encoder and no storage."""
