"""Reads and writes tables of scores as parquet files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from archs.errors import UserError
from experiments.storage.whole import write_whole

if TYPE_CHECKING:
    import pandas as pd


def write_table(path: Path, rows: pd.DataFrame) -> None:
    """Writes a .parquet file completely or not at all."""
    buffer = io.BytesIO()
    rows.to_parquet(buffer, index=False)
    write_whole(path, buffer.getvalue())


def read_table(path: Path) -> pd.DataFrame:
    """Returns the rows of a .parquet file. Raises UserError if it is damaged."""
    import pandas as pd
    from pyarrow.lib import ArrowException

    try:
        return pd.read_parquet(path)
    except (ArrowException, OSError) as error:
        raise UserError(
            f"'{path}' is cut short or damaged; write it again with: pentarch evaluate {path.parents[1]}"
        ) from error
