"""Documents in: sources and readers, and the pipeline from a file to a commit."""

from yusa.indexer.paths import read
from yusa.indexer.reindexing import ReindexReport, reindex
from yusa.indexer.results import Progress, Rejected, Report, Row, Skipped
from yusa.indexer.run import run
from yusa.indexer.source import Source, documents_source

__all__ = [
    "Progress",
    "ReindexReport",
    "Rejected",
    "Report",
    "Row",
    "Skipped",
    "Source",
    "documents_source",
    "read",
    "reindex",
    "run",
]
