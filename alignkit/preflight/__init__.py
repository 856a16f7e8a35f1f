"""The pre-flight: what `alignkit check` says of a run before any weight is loaded."""

from .checks import run_preflight
from .report import PreflightReport


__all__ = ["PreflightReport", "run_preflight"]
