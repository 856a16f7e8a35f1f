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
    "APOAcceleratedConfig": "alignkit.trainers.preference.apo_accelerated",
    "APOAcceleratedTrainer": "alignkit.trainers.preference.apo_accelerated",
    "DNOConfig": "alignkit.trainers.preference.dno",
    "DNOTrainer": "alignkit.trainers.preference.dno",
    "INPOConfig": "alignkit.trainers.preference.inpo",
    "INPOTrainer": "alignkit.trainers.preference.inpo",
    "SPPOConfig": "alignkit.trainers.preference.sppo",
    "SPPOTrainer": "alignkit.trainers.preference.sppo",
    "PreferenceConfig": "alignkit.trainers.preference.base",
    "PreferenceTrainer": "alignkit.trainers.preference.base",
    "RewardConfig": "alignkit.trainers.reward",
    "RewardTrainer": "alignkit.trainers.reward",
}

__all__ = ["__version__", *_EXPORTS]

if TYPE_CHECKING:
    from .trainers.preference.apo_accelerated import APOAcceleratedConfig, APOAcceleratedTrainer
    from .trainers.preference.base import PreferenceConfig, PreferenceTrainer
    from .trainers.preference.dno import DNOConfig, DNOTrainer
    from .trainers.preference.dpo import DPOConfig, DPOTrainer
    from .trainers.preference.inpo import INPOConfig, INPOTrainer
    from .trainers.preference.madpo import MADPOConfig, MADPOTrainer
    from .trainers.preference.modpo import MODPOConfig, MODPOTrainer
    from .trainers.preference.sppo import SPPOConfig, SPPOTrainer
    from .trainers.reward import RewardConfig, RewardTrainer


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'alignkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
