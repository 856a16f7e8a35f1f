"""The pre-flight of the trainers that generate while they train: `trl.GRPOTrainer` and what is made of it."""

from .checks import run_online_preflight
from .report import OnlineReport


__all__ = ["OnlineReport", "run_online_preflight"]
