"""Tables in parquet files: read and checked, or written whole."""

import io
from pathlib import Path

import polars as pl

from nanonap.base.files import beside
from nanonap.lab.ground.errors import BadResult


def read_frame(path: Path, schema: pl.Schema) -> pl.DataFrame:
    """A file's columns of the schema. Raises BadResult."""
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadResult(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from error
    bad = [name for name, kind in schema.items() if frame.schema.get(name) != kind]
    if bad:
        raise BadResult(f"{path}: column {', '.join(bad)} is missing or of another type")
    return frame.select(schema.names())


def parquet(frame: pl.DataFrame) -> bytes:
    """The bytes of a file: Polars' own writer hides which error the system gave, and a full disk must be told apart."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a file, whole or not at all. Raises OutputNotWritable, DiskFull."""
    with beside(path) as temporary:
        temporary.write_bytes(parquet(frame))
        temporary.chmod(0o644)
