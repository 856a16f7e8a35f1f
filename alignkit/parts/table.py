"""The parts by slot and name. A new part is one line here."""

import difflib
import importlib
from typing import Any

from ..errors import InputError


PARTS: dict[str, dict[str, str]] = {
    "source": {"dataloader": "alignkit.parts.sources.base:DataloaderOrder"},
    "allocator": {"uniform": "alignkit.parts.allocators.base:UniformAllocator"},
    "guidance": {"none": "alignkit.parts.guidance.base:NoGuidance"},
    "replay": {"none": "alignkit.parts.replay.base:NoReplay"},
    "reward_shaping": {
        "none": "alignkit.parts.reward_shaping.base:NoShaping",
        "conditioned": "alignkit.parts.reward_shaping.conditioned:ConditionedRewards",
    },
    "advantage": {
        "grpo": "alignkit.parts.advantages.base:TRLAdvantages",
        "gae": "alignkit.parts.advantages.gae:GAEAdvantages",
        "rto": "alignkit.parts.advantages.rto:RTOAdvantages",
        "egae": "alignkit.parts.advantages.egae:EGAEAdvantages",
        "gdpo": "alignkit.parts.advantages.gdpo:GDPOAdvantages",
        "copo": "alignkit.parts.advantages.copo:COPOAdvantages",
        "apo_asymmetric": "alignkit.parts.advantages.apo_asymmetric:APOAsymmetricAdvantages",
        "bnpo": "alignkit.parts.advantages.bnpo:BNPOAdvantages",
        "adora": "alignkit.parts.advantages.adora:ADORAAdvantages",
        "riskpo": "alignkit.parts.advantages.riskpo:RiskPOAdvantages",
        "dcpo": "alignkit.parts.advantages.dcpo:DCPOAdvantages",
        "hapo": "alignkit.parts.advantages.hapo:HAPOAdvantages",
        "cgpo": "alignkit.parts.advantages.cgpo:CGPOAdvantages",
    },
    "policy_loss": {
        "dapo": "alignkit.parts.policy_losses.trl:DAPOLoss",
        "grpo": "alignkit.parts.policy_losses.trl:GRPOLoss",
        "dr_grpo": "alignkit.parts.policy_losses.trl:DrGRPOLoss",
        "bnpo": "alignkit.parts.policy_losses.trl:TokenMeanLoss",
        "luspo": "alignkit.parts.policy_losses.trl:LUSPOLoss",
        "cispo": "alignkit.parts.policy_losses.trl:CISPOLoss",
        "gspo": "alignkit.parts.policy_losses.trl:GSPOLoss",
        "vespo": "alignkit.parts.policy_losses.trl:VESPOLoss",
        "mhpo": "alignkit.parts.policy_losses.mhpo:MHPOLoss",
        "sapo": "alignkit.parts.policy_losses.sapo:SAPOLoss",
        "copo": "alignkit.parts.policy_losses.copo:COPOLoss",
        "apo_asymmetric": "alignkit.parts.policy_losses.apo_asymmetric:APOAsymmetricLoss",
        "bapo": "alignkit.parts.policy_losses.bapo:BAPOLoss",
        "hapo": "alignkit.parts.policy_losses.hapo:HAPOLoss",
        "cgpo": "alignkit.parts.policy_losses.cgpo:CGPOLoss",
    },
}

SLOTS = tuple(PARTS)

# What an empty slot means.
IDENTITY = {
    "source": "dataloader",
    "allocator": "uniform",
    "guidance": "none",
    "replay": "none",
    "reward_shaping": "none",
    "advantage": "grpo",
}


def load_part(slot: str, name: str) -> Any:
    """Import and return the class of a part; `InputError` with the names of the slot if there is none of that name."""
    known = PARTS[slot]
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}."
        raise InputError(f"`{slot}` names the part {name!r}, which there is not; {hint}")
    module, attribute = known[name].split(":")
    return getattr(importlib.import_module(module), attribute)
