"""The loss part `mhpo`."""

import pytest
import torch
from part_batches import make_tokens

from alignkit.objectives.policy import mhpo_gradient_multiplier, mhpo_loss
from alignkit.parts.policy_losses.mhpo import MHPOLoss, MHPOLossConfig


def test_the_part_computes_the_objective_under_its_settings():
    settings = {"c": 0.7, "k_pos": 1.2, "lambda_pos": 0.9, "k_neg": 2.5, "lambda_neg": 1.1}
    batch = make_tokens()
    loss = MHPOLoss(MHPOLossConfig(**settings)).token_loss(batch)
    expected = mhpo_loss(batch.logps, batch.old_logps, batch.advantages, batch.mask, **settings)
    assert torch.equal(loss, expected) and (loss[~batch.mask] == 0).all() and loss.requires_grad


def test_the_metrics_are_those_of_the_counted_tokens():
    batch = make_tokens(spread=1.0)
    MHPOLoss(MHPOLossConfig()).token_loss(batch)
    multiplier = mhpo_gradient_multiplier((batch.logps - batch.old_logps)[batch.mask])
    torch.testing.assert_close(batch.metrics["mhpo/multiplier_max"], multiplier.max())
    assert (batch.metrics["mhpo/survival_mean"] == torch.exp(-batch.metrics["mhpo/hazard_mean"])).all()
    assert batch.metrics["mhpo/psi_mean"].abs().max() <= 1.5


def test_on_policy_every_token_is_scaled_by_the_constant():
    batch = make_tokens(old_logps=None)
    MHPOLoss(MHPOLossConfig()).token_loss(batch).sum().backward()
    expected = torch.where(batch.mask, -0.265062 * batch.advantages[:, None], 0.0)
    torch.testing.assert_close(batch.logps.grad, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["c", "k_pos", "lambda_pos", "k_neg", "lambda_neg"])
def test_settings_outside_their_range_are_refused(name):
    with pytest.raises(ValueError, match=name):
        MHPOLossConfig(**{name: 0.0})
    with pytest.raises(ValueError, match="aggregation"):
        MHPOLossConfig(aggregation="mean")
