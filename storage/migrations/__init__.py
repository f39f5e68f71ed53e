"""Alembic's revisions: `versions/NNNN_*.py` makes format N of the format before it."""
