"""alignkit: published preference-alignment methods as TRL trainers.

Public names are imported on first use, so that `import alignkit` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING


__version__ = "0.1.0.dev0"

_EXPORTS = {
    "DPOConfig": "alignkit.trainers.preference.dpo",
    "DPOTrainer": "alignkit.trainers.preference.dpo",
    "MADPOConfig": "alignkit.trainers.preference.madpo",
    "MADPOTrainer": "alignkit.trainers.preference.madpo",
    "MODPOConfig": "alignkit.trainers.preference.modpo",
    "MODPOTrainer": "alignkit.trainers.preference.modpo",
    "PreferenceConfig": "alignkit.trainers.preference.base",
    "PreferenceTrainer": "alignkit.trainers.preference.base",
    "RewardConfig": "alignkit.trainers.reward",
    "RewardTrainer": "alignkit.trainers.reward",
}

__all__ = ["__version__", *_EXPORTS]

if TYPE_CHECKING:
    from .trainers.preference.base import PreferenceConfig, PreferenceTrainer
    from .trainers.preference.dpo import DPOConfig, DPOTrainer
    from .trainers.preference.madpo import MADPOConfig, MADPOTrainer
    from .trainers.preference.modpo import MODPOConfig, MODPOTrainer
    from .trainers.reward import RewardConfig, RewardTrainer


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'alignkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
