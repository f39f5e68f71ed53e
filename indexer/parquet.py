"""Parquet, by record batches."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from yusa.errors import MissingDependencyError
from yusa.indexer.opened import SHOWN, FileError, Opened
from yusa.indexer.results import Rejected, Row
from yusa.indexer.rows import Fields, RowError, row_document

# Decoded at once: a small file may unpack to a million characters in each row.
_BATCH_ROWS = 32


def require_pyarrow() -> None:
    """Raises MissingDependencyError where pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "Parquet files are read with pyarrow, which is not installed: pip install 'yusa[parquet]'"
        ) from None


def read_parquet(opened: Opened) -> Iterator[Row | Rejected]:
    """One document per row. Dates and times become ISO 8601 strings, decimals numbers, structs objects, lists arrays.

    Raises:
        FileError: not a Parquet file, no text column or not the id column that was named, or a column of binary data.
    """
    try:
        require_pyarrow()
    except MissingDependencyError as error:
        raise FileError(str(error)) from None
    import pyarrow as pa
    import pyarrow.parquet as pq

    if opened.path is None:
        raise FileError("a Parquet file cannot be read from a stream: name the file")
    try:
        with pq.ParquetFile(opened.path) as file:
            schema = file.schema_arrow
            _check(schema, opened.fields)
            rows = file.metadata.num_rows or 1
            size = opened.path.stat().st_size
            done = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in _whole_microseconds(batch).to_pylist():
                    done += 1
                    yield _row(opened, row, done)
                opened.advance(size * done // rows - size * (done - batch.num_rows) // rows)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise FileError(f"not a Parquet file that can be read: {str(error).splitlines()[0]}") from error


def _check(schema: Any, fields: Fields) -> None:
    import pyarrow as pa

    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise FileError(f"the column {twice[0]!r} stands twice")
    for name, option in ((fields.text or "text", "--text-field"), (fields.id, "--id-field")):
        if name is not None and name not in schema.names:
            raise FileError(f"no column {name!r} ({', '.join(schema.names)[:200]}): {option} names it")
    for column in schema:
        kind = column.type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
            raise FileError(f"the column {column.name!r} holds binary data, which is no metadata: leave it out")


def _whole_microseconds(batch: Any) -> Any:
    """Nanoseconds, which Python's datetime does not have, are cut off."""
    import pyarrow as pa

    for i, column in enumerate(batch.schema):
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            cut = batch.column(i).cast(pa.timestamp("us", tz=column.type.tz), safe=False)
            batch = batch.set_column(i, column.name, cut)
    return batch


def _row(opened: Opened, row: dict[str, Any], number: int) -> Row | Rejected:
    try:
        return Row(
            row_document({name: _plain(value) for name, value in row.items()}, opened.fields), opened.label, number
        )
    except RowError as error:
        return Rejected(opened.label, number, error.id, str(error), str(row)[:SHOWN])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):  # a tuple is an entry of a map
        return [_plain(inner) for inner in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value
