"""The loss part `sapo`, which TRL computes."""

import torch
from part_batches import make_tokens

from alignkit import SAPOConfig
from alignkit.objectives.policy import sapo_gradient_weight
from alignkit.parts.part import PartConfig
from alignkit.parts.policy_losses.sapo import SAPOLoss


def test_the_weights_are_logged_under_the_temperatures_of_the_run(tmp_path):
    args = SAPOConfig(output_dir=str(tmp_path), sapo_temperature_pos=2.0, sapo_temperature_neg=3.0)
    batch = make_tokens(spread=2.0)
    SAPOLoss(PartConfig()).measure(batch, args)
    weight = sapo_gradient_weight(batch.log_ratio, batch.advantages, 2.0, 3.0)
    assert torch.equal(batch.metrics["sapo/gradient_weight_mean"], weight)
    faded = batch.metrics["sapo/faded_share"]
    assert torch.equal(faded == 1, weight < 0.5) and 0 < faded.mean() < 1
