"""The kill campaign: a writer is killed again and again, and what is left is compared with a model."""
