"""Publishing: a checkpoint becomes a folder the Hub understands, merged if wanted, and goes there.

Nothing heavy is imported before a function runs; an adapter is exported without torch.
"""

from .export import ExportResult, export_adapter
from .merge import LogitDifference, MergeReport
from .upload import PushError, PushResult, push


__all__ = [
    "ExportResult",
    "LogitDifference",
    "MergeReport",
    "PushError",
    "PushResult",
    "export_adapter",
    "push",
]
