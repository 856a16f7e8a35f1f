"""alignkit: published preference-alignment methods as TRL trainers.

Public names are imported on first use, so that `import alignkit` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

from .catalog import METHODS


__version__ = "0.1.0.dev0"

# Trainers and configurations by method, and the bases that a new method extends.
_EXPORTS = {
    path.split(":")[1]: path.split(":")[0]
    for method in METHODS.values()
    for path in (method.trainer, method.config)
    if method.trainer.endswith("Trainer")
}
_EXPORTS.update(
    DiffusionConfig="alignkit.trainers.diffusion.config",
    DiffusionTrainer="alignkit.trainers.diffusion.base",
    PreferenceConfig="alignkit.trainers.preference.base",
    PreferenceTrainer="alignkit.trainers.preference.base",
)

__all__ = ["__version__", *_EXPORTS]

if TYPE_CHECKING:
    from .trainers.diffusion.base import DiffusionTrainer
    from .trainers.diffusion.config import DiffusionConfig
    from .trainers.diffusion.diffusion_dpo import DiffusionDPOConfig, DiffusionDPOTrainer
    from .trainers.diffusion.seppo import SePPOConfig, SePPOTrainer
    from .trainers.online.adora import ADORAConfig, ADORATrainer
    from .trainers.online.apo_asymmetric import APOAsymmetricConfig, APOAsymmetricTrainer
    from .trainers.online.bapo import BAPOConfig, BAPOTrainer
    from .trainers.online.base import OnlineTrainer
    from .trainers.online.bnpo import BNPOConfig, BNPOTrainer
    from .trainers.online.cgpo import CGPOConfig, CGPOTrainer
    from .trainers.online.config import OnlineConfig
    from .trainers.online.copo import COPOConfig, COPOTrainer
    from .trainers.online.dcpo import DCPOConfig, DCPOTrainer
    from .trainers.online.gdpo import GDPOConfig, GDPOTrainer
    from .trainers.online.grpo import GRPOConfig, GRPOTrainer
    from .trainers.online.hapo import HAPOConfig, HAPOTrainer
    from .trainers.online.mhpo import MHPOConfig, MHPOTrainer
    from .trainers.online.riskpo import RiskPOConfig, RiskPOTrainer
    from .trainers.online.sapo import SAPOConfig, SAPOTrainer
    from .trainers.ppo.base import PPOTrainer
    from .trainers.ppo.config import PPOConfig
    from .trainers.ppo.rto import RTOConfig, RTOTrainer
    from .trainers.ppo.tppo import TPPOConfig, TPPOTrainer
    from .trainers.preference.apo_accelerated import APOAcceleratedConfig, APOAcceleratedTrainer
    from .trainers.preference.base import PreferenceConfig, PreferenceTrainer
    from .trainers.preference.dno import DNOConfig, DNOTrainer
    from .trainers.preference.dpo import DPOConfig, DPOTrainer
    from .trainers.preference.inpo import INPOConfig, INPOTrainer
    from .trainers.preference.madpo import MADPOConfig, MADPOTrainer
    from .trainers.preference.modpo import MODPOConfig, MODPOTrainer
    from .trainers.preference.parl import PARLTrainer
    from .trainers.preference.parl_config import PARLConfig
    from .trainers.preference.sppo import SPPOConfig, SPPOTrainer
    from .trainers.reward import RewardConfig, RewardTrainer


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'alignkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
