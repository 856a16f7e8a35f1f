"""The data room: loading by name, the formats of the columns, and validation that names file, row and field."""

from .bundled import DATASETS, resolve_model
from .formats import COLUMNS, ColumnSpec, column_specs
from .loading import load, load_for_run, load_mixture
from .validation import check_numeric_column, validate_rows


__all__ = [
    "COLUMNS",
    "DATASETS",
    "ColumnSpec",
    "check_numeric_column",
    "column_specs",
    "load",
    "load_for_run",
    "load_mixture",
    "resolve_model",
    "validate_rows",
]
