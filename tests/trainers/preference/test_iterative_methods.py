"""The trainers of the iterative family on given pairs: first losses, limits that are other losses, refusals."""

import math

import pytest
import torch
from model_weights import largest_difference
from trl import DPOConfig as TRLDPOConfig
from trl import DPOTrainer as TRLDPOTrainer

from alignkit import (
    APOAcceleratedConfig,
    APOAcceleratedTrainer,
    DNOConfig,
    DNOTrainer,
    DPOConfig,
    DPOTrainer,
    INPOConfig,
    INPOTrainer,
    SPPOConfig,
    SPPOTrainer,
)
from alignkit.errors import InputError


def with_columns(pairs, **values):
    for name, value in values.items():
        pairs = pairs.add_column(name, value if isinstance(value, list) else [value] * len(pairs))
    return pairs


def trained(trainer_class, config, model, data, peft_config=None):
    trainer = trainer_class(model, args=config, train_dataset=data, peft_config=peft_config)
    trainer.train()
    return trainer


def first(trainer, name="loss"):
    return trainer.state.log_history[0][name]


@pytest.fixture(scope="module")
def few(pairs):
    """16 pairs, one batch of the settings `once`."""
    return pairs.select(range(16))


@pytest.fixture
def once(settings):
    """One step on all of `few`, so that the first logged numbers are means over the whole data set."""
    settings.update(max_steps=1, per_device_train_batch_size=16)
    return settings


def test_sppo_with_win_rates_of_one_half_leaves_the_policy_where_it_is(bundled_model_dir, pairs, settings):
    from transformers import AutoModelForCausalLM

    tied = with_columns(pairs, chosen_win_rate=0.5, rejected_win_rate=0.5)
    trainer = trained(SPPOTrainer, SPPOConfig(**settings, eta=10.0), bundled_model_dir, tied)
    start = AutoModelForCausalLM.from_pretrained(bundled_model_dir, dtype=trainer.model.dtype)
    assert first(trainer) == pytest.approx(0, abs=1e-8) and largest_difference(trainer.model, start) < 1e-4


def test_sppo_first_loss_is_the_mean_of_the_squared_targets(bundled_model_dir, few, once, lora):
    rates = [0.5 + (row % 5) / 10 for row in range(16)]
    data = with_columns(few, chosen_win_rate=rates, rejected_win_rate=[1 - rate for rate in rates])
    trainer = trained(SPPOTrainer, SPPOConfig(**once, eta=4.0), bundled_model_dir, data, lora)
    expected = sum((4 * (rate - 0.5)) ** 2 for rate in rates) / 16
    assert first(trainer) == pytest.approx(expected, rel=1e-4)
    assert first(trainer, "sppo/chosen_win_rate") == pytest.approx(sum(rates) / 16, rel=1e-5)


def test_sppo_with_hard_labels_is_half_of_the_loss_of_trl(bundled_model_dir, few, once):
    theirs = trained(TRLDPOTrainer, TRLDPOConfig(**once, loss_type=["sppo_hard"], beta=0.2), bundled_model_dir, few)
    ours = trained(
        SPPOTrainer, SPPOConfig(**once, win_rates="hard", eta=5.0, shared_prefix="off"), bundled_model_dir, few
    )
    assert first(ours) == pytest.approx(first(theirs) / 2, rel=1e-5)
    # Both gradients are clipped to the same length, so the step is the same.
    assert largest_difference(ours.model, theirs.model) < 1e-5


def test_inpo_does_not_depend_on_tau_where_both_references_are_one(bundled_model_dir, pairs, settings):
    settings.update(max_steps=2)
    runs = [
        trained(
            INPOTrainer,
            INPOConfig(**settings, eta=0.1, tau=tau, reference_model="bundled/tiny-math"),
            bundled_model_dir,
            pairs,
        )
        for tau in (0.0, 0.1)
    ]
    assert first(runs[0]) == pytest.approx(25, rel=1e-4)
    assert largest_difference(runs[0].model, runs[1].model) < 1e-6


def test_inpo_reads_the_last_policy_from_the_columns(bundled_model_dir, few, once):
    """With tau = eta the columns have no effect; with tau = 0 they alone are the reference."""
    data = with_columns(few, last_chosen_logps=-3.0, last_rejected_logps=-8.0)
    runs = {
        tau: trained(INPOTrainer, INPOConfig(**once, eta=0.1, tau=tau), bundled_model_dir, data) for tau in (0.0, 0.1)
    }
    assert first(runs[0.1]) == pytest.approx(25, rel=1e-4)
    gap = first(runs[0.0], "logps/chosen") - first(runs[0.0], "logps/rejected")
    assert first(runs[0.0], "inpo/gap") == pytest.approx(gap - 5, rel=1e-4)
    assert first(runs[0.0]) != pytest.approx(25, rel=1e-2)


def test_dno_prct_equals_dpo_with_beta_eta(bundled_model_dir, pairs, settings):
    dpo = trained(DPOTrainer, DPOConfig(**settings, beta=0.4), bundled_model_dir, pairs)
    dno = trained(DNOTrainer, DNOConfig(**settings, eta=0.4), bundled_model_dir, pairs)
    assert largest_difference(dpo.model, dno.model) <= 1e-7
    assert first(dno, "rewards/margins") == first(dpo, "rewards/margins")


def test_dno_soft_has_a_finite_optimum_where_dno_prct_goes_on(bundled_model_dir, pairs, settings):
    """Equal win rates: the gradient at the start is 0, so nothing moves."""
    data = with_columns(pairs, chosen_win_rate=0.6, rejected_win_rate=0.6)
    trainer = trained(DNOTrainer, DNOConfig(**settings, dno_variant="soft"), bundled_model_dir, data)
    assert first(trainer) == pytest.approx(math.log(2), abs=1e-6) and first(trainer, "dno/win_rate_gap") == 0
    assert first(trainer, "grad_norm") < 1e-4


def test_momentum_in_parameters_is_dpo_within_an_iteration(bundled_model_dir, pairs, settings):
    dpo = trained(DPOTrainer, DPOConfig(**settings), bundled_model_dir, pairs)
    apo = trained(APOAcceleratedTrainer, APOAcceleratedConfig(**settings, alpha=0.6), bundled_model_dir, pairs)
    assert largest_difference(dpo.model, apo.model) <= 1e-7


def test_momentum_in_logits_shifts_the_reference(bundled_model_dir, few, once):
    """previous = reference: no momentum. A previous model that preferred the chosen less: the reference wants it more."""
    config = APOAcceleratedConfig(
        **once, momentum_space="logits", alpha=0.5, beta=1.0, previous_model=bundled_model_dir
    )
    same = trained(APOAcceleratedTrainer, config, bundled_model_dir, few)
    assert first(same) == pytest.approx(math.log(2), abs=1e-5)
    start = same.train_dataset
    data = with_columns(
        few,
        previous_chosen_logps=[value - 2 for value in start["previous_chosen_logps"]],
        previous_rejected_logps=list(start["previous_rejected_logps"]),
    )
    config = APOAcceleratedConfig(**once, momentum_space="logits", alpha=0.5, beta=1.0)
    moved = trained(APOAcceleratedTrainer, config, bundled_model_dir, data)
    # h = -(0.5 * 2) at the start, so the loss is -log sigma(-1).
    assert first(moved) == pytest.approx(math.log(1 + math.e), abs=1e-4)


def test_references_that_the_data_brings_along_are_not_computed_again(bundled_model_dir, few, once):
    given = with_columns(few, ref_chosen_logps=-1.0, ref_rejected_logps=-1.0)
    config = DPOConfig(**once, precompute_ref_log_probs=True)
    trainer = DPOTrainer(bundled_model_dir, args=config, train_dataset=given)
    assert set(trainer.train_dataset["ref_chosen_logps"]) == {-1.0}


@pytest.mark.parametrize(
    "config_class, values, message",
    [
        (SPPOConfig, {"eta": 0.0}, "`eta` is 0.0"),
        (SPPOConfig, {"beta": 0.01}, "`beta` is 0.01"),
        (SPPOConfig, {"win_rates": "soft"}, "`win_rates` is 'soft'"),
        (INPOConfig, {"eta": -1.0}, "`eta` is -1.0"),
        (INPOConfig, {"eta": 0.1, "tau": 0.11}, "`tau` is 0.11"),
        (INPOConfig, {"tau": -0.001}, "`tau` is -0.001"),
        (INPOConfig, {"loss_type": ["ipo"]}, "`loss_type`"),
        (DNOConfig, {"dno_variant": "hard"}, "`dno_variant` is 'hard'"),
        (DNOConfig, {"reward_scale": 2.0}, "`reward_scale` is 2.0"),
        (DNOConfig, {"dno_variant": "soft", "reward_scale": 0.0}, "`reward_scale` is 0.0"),
        (APOAcceleratedConfig, {"alpha": 1.0}, "`alpha` is 1.0"),
        (APOAcceleratedConfig, {"alpha": -0.1}, "`alpha` is -0.1"),
        (APOAcceleratedConfig, {"momentum_space": "weights"}, "`momentum_space` is 'weights'"),
        (APOAcceleratedConfig, {"previous_model": "m"}, "`previous_model` is 'm'"),
        (APOAcceleratedConfig, {"loss_type": ["sppo_hard"]}, "`loss_type`"),
    ],
)
def test_values_out_of_range_are_refused_by_name(settings, config_class, values, message):
    with pytest.raises(ValueError, match=message):
        config_class(**settings, **values)


@pytest.mark.parametrize(
    "trainer_class, config, column",
    [
        (SPPOTrainer, SPPOConfig, "chosen_win_rate"),
        (INPOTrainer, INPOConfig, "last_chosen_logps"),
        (DNOTrainer, DNOConfig, "chosen_win_rate"),
        (APOAcceleratedTrainer, APOAcceleratedConfig, "previous_chosen_logps"),
    ],
    ids=["sppo", "inpo", "dno", "apo_accelerated"],
)
def test_a_missing_column_is_named_before_the_model_is_loaded(pairs, settings, trainer_class, config, column):
    own = {DNOConfig: {"dno_variant": "soft"}, APOAcceleratedConfig: {"momentum_space": "logits"}}.get(config, {})
    with pytest.raises(InputError, match=column):
        trainer_class("no/such-model", args=config(**settings, **own), train_dataset=pairs)


def test_a_win_rate_outside_its_range_is_refused(bundled_model_dir, few, once):
    data = with_columns(few, chosen_win_rate=1.2, rejected_win_rate=0.0)
    with pytest.raises(ValueError, match="chosen_win_rate"):
        trained(SPPOTrainer, SPPOConfig(**once), bundled_model_dir, data)


def test_qlora_takes_its_quantised_base_as_the_fixed_reference(bundled_model_dir, few, once, lora, monkeypatch):
    """The base as it is in memory, in 4-bit; a second one in full precision would give other references."""
    from transformers import BitsAndBytesConfig

    monkeypatch.setattr("alignkit.trainers.preference.frozen.load_frozen_model", None)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    trainer = INPOTrainer(
        bundled_model_dir,
        args=INPOConfig(**once, eta=0.1, reference_model="bundled/tiny-math"),
        train_dataset=few,
        quantization_config=quantization,
        peft_config=lora,
    )
    trainer.train()
    assert first(trainer) == pytest.approx(25, rel=1e-4)
    assert first(trainer, "inpo/references_differ") < 1e-4
