"""The three critics: what they read, what their loss moves, and what it leaves alone."""

import os

import pytest
import torch
from launched_runs import weights
from online_worker import reward
from shaken import shake

from alignkit.errors import InputError
from alignkit.trainers.ppo.critic_training import sequences


KINDS = [("separate", False), ("separate", True), ("shared_head", False), ("shared_head", True), ("adapter", True)]


def snapshot(parameters):
    return [item.detach().clone() for item in parameters]


def moved(before, after):
    return [not torch.equal(old, new) for old, new in zip(before, after, strict=True)]


def policy_parameters(trainer):
    return [item for item in trainer.model.parameters() if item.requires_grad]


def gradient(parameters):
    return [None if item.grad is None else item.grad.clone() for item in parameters]


def values_of(trainer, batch):
    with torch.no_grad(), trainer.critic.active():
        return trainer.critic.values(*sequences(batch))


def value_loss_alone(trainer, batch):
    """One backward pass of the whole loss, with nothing for the policy to learn."""
    batch["advantages"] = torch.zeros_like(batch["advantages"])
    trainer._compute_loss(trainer.model, batch).backward()


@pytest.mark.parametrize("critic, lora", KINDS)
def test_every_critic_trains_and_saves_the_policy_alone(make, critic, lora):
    trainer = make(critic, lora, head=False, max_steps=2, critic_learning_rate=1e-3, learning_rate=1e-3)
    critic_before, policy_before = snapshot(trainer.critic.parameters()), snapshot(policy_parameters(trainer))
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logs) == 2 and all(torch.tensor(entry["loss"]).isfinite() for entry in logs)
    assert all(moved(critic_before, trainer.critic.parameters())[:2]), "the head stood still"
    assert any(moved(policy_before, policy_parameters(trainer)))
    if critic != "shared_head":  # the head is 0 in the first step, and its backbone moves in the second
        assert any(moved(critic_before, trainer.critic.parameters())[2:])
    for name in ("value/loss", "value/explained_variance", "value/mean", "returns/mean", "value/clip_fraction"):
        assert name in logs[0], name
    assert {"objective/score", "objective/kl", "policy/approx_kl", "value/grad_norm"} <= logs[0].keys()
    assert "frac_reward_zero_std" not in logs[0]
    trainer.save_model()
    saved = set(os.listdir(trainer.args.output_dir))
    assert ("adapter_model.safetensors" if lora else "model.safetensors") in saved
    assert not any("critic" in name for name in saved)
    assert not any(".critic." in name for name in weights(trainer.args.output_dir))


@pytest.mark.parametrize("critic, lora", [("separate", False), ("shared_head", False)])
def test_a_new_head_says_the_initial_value_of_every_text(make, rollouts, critic, lora):
    trainer = make(critic, lora, head=False, critic_initial_value=0.4)
    batch = rollouts(trainer)
    assert torch.equal(batch["old_values"][batch["completion_mask"].bool()].unique(), torch.tensor([0.4]))


@pytest.mark.parametrize("critic", ["separate", "adapter"])
def test_the_value_loss_gives_the_policy_no_gradient(make, rollouts, critic):
    trainer = make(critic)
    value_loss_alone(trainer, rollouts(trainer))
    assert all(grad is None or not grad.any() for grad in gradient(policy_parameters(trainer)))
    assert all(grad.any() for grad in gradient(trainer.critic.head.parameters()))
    assert any(grad.any() for grad in gradient(trainer.critic.parameters()[2:]))


@pytest.mark.parametrize("detach", [False, True])
def test_a_shared_head_reaches_the_policy_unless_detached(make, rollouts, detach):
    trainer = make("shared_head", detach_value_backbone=detach)
    value_loss_alone(trainer, rollouts(trainer))
    assert any(grad is not None and grad.any() for grad in gradient(policy_parameters(trainer))) is not detach
    assert all(grad.any() for grad in gradient(trainer.critic.head.parameters()))


def test_the_shared_head_reads_the_hidden_states_of_the_policy_pass(make, rollouts):
    trainer = make("shared_head")
    batch = rollouts(trainer)
    input_ids, attention_mask, tokens = sequences(batch)
    trainer._token_logps(batch)  # without gradient: must not be caught
    assert trainer.critic.caught is None
    trainer._get_per_token_logps_and_entropies(trainer.model, input_ids, attention_mask, tokens)
    caught, counted = trainer.critic.values_of_policy_pass(tokens, True), batch["completion_mask"].bool()
    torch.testing.assert_close(caught[counted], values_of(trainer, batch)[:, :-1][counted])


@pytest.mark.parametrize("critic", ["separate", "shared_head", "adapter"])
def test_a_value_is_read_before_its_token(make, rollouts, critic):
    """Another token at place t leaves V_0 ... V_t alone and changes V_(t+1)."""
    trainer = make(critic)
    batch = rollouts(trainer)
    before, place = values_of(trainer, batch), 2
    batch["completion_ids"][:, place] = (batch["completion_ids"][:, place] + 1) % 100
    after = values_of(trainer, batch)
    assert before.shape[1] == batch["completion_ids"].shape[1] + 1
    torch.testing.assert_close(after[:, : place + 1], before[:, : place + 1])
    assert ((after - before)[:, place + 1].abs() > 1e-6).all()
    torch.testing.assert_close(batch["old_values"], before[:, :-1])


def test_the_value_after_the_last_token_is_that_of_the_whole_text(make, rollouts):
    trainer = make()
    batch = rollouts(trainer)
    loaded = trainer._more_to_load(batch)
    assert torch.equal(loaded["values"](), loaded["values"]())
    row = int(batch["completion_mask"].sum(dim=1).argmin())
    length = int(batch["completion_mask"][row].sum())
    prompt = batch["prompt_mask"][row].bool()
    text = torch.cat([batch["prompt_ids"][row][prompt], batch["completion_ids"][row, :length]])[None]
    alone = values_of(
        trainer,
        {
            "prompt_ids": text[:, :-1],
            "completion_ids": text[:, -1:],
            "prompt_mask": torch.ones_like(text[:, :-1]),
            "completion_mask": torch.ones_like(text[:, -1:]),
        },
    )
    torch.testing.assert_close(loaded["end_values"]()[row], alone[0, -1])


def test_the_two_adapters_never_mix(make, rollouts):
    trainer = make("adapter")
    batch = rollouts(trainer)
    values, logps = values_of(trainer, batch), trainer._token_logps(batch)
    shake(trainer.model, only="lora_B.default")
    assert torch.equal(values_of(trainer, batch), values)
    policy = trainer._token_logps(batch)
    assert (policy - logps).abs().max() > 1e-3
    shake(trainer.model, only="lora_B.critic")
    assert torch.equal(trainer._token_logps(batch), policy)
    assert (values_of(trainer, batch) - values).abs().max() > 1e-3


def test_the_critic_adapter_is_switched_back_after_an_error(make):
    trainer = make("adapter")
    trainable = [name for name, item in trainer.model.named_parameters() if item.requires_grad]
    with pytest.raises(RuntimeError, match="inside"), trainer.critic.active():
        assert trainer.model.active_adapter == "critic"
        raise RuntimeError("inside")
    assert trainer.model.active_adapter == "default"
    assert [name for name, item in trainer.model.named_parameters() if item.requires_grad] == trainable
    assert trainable and all(".default." in name for name in trainable)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_no_gradient_of_either_adapter(make, rollouts, reentrant):
    found = []
    for checkpointing in (False, True):
        kwargs = {"use_reentrant": reentrant} if checkpointing else None
        trainer = make("adapter", gradient_checkpointing=checkpointing, gradient_checkpointing_kwargs=kwargs)
        if checkpointing:
            trainer.model.gradient_checkpointing_enable(kwargs)  # as `train` does
        shake(trainer.model)
        batch = rollouts(trainer)
        trainer._compute_loss(trainer.model, batch).backward()
        found.append([*gradient(policy_parameters(trainer)), *gradient(trainer.critic.parameters())])
    assert len(found[0]) == len(found[1]) > 4
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=1e-5, atol=1e-7)
        assert plain.any()


def test_qlora_moves_adapters_and_head_alone(make):
    from transformers import BitsAndBytesConfig

    four_bit = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    rates = {"learning_rate": 1e-3, "critic_learning_rate": 1e-3}
    trainer = make("adapter", head=False, quantization_config=four_bit, max_steps=2, **rates)
    before = {name: item.detach().clone() for name, item in trainer.model.named_parameters()}
    assert any(item.dtype == torch.uint8 for item in before.values()), "nothing is quantised"
    trainer.train()
    changed = {name for name, item in trainer.model.named_parameters() if not torch.equal(item, before[name])}
    assert changed and all("lora_" in name for name in changed)
    for adapter in ("default", "critic"):
        assert any(f".{adapter}." in name for name in changed), adapter
    assert trainer.critic.head.weight.any()


def test_a_reward_model_hands_its_score_head_to_the_critic(make, rollouts, bundled_model_dir, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = str(tmp_path / "reward")
    scorer = AutoModelForSequenceClassification.from_pretrained(bundled_model_dir, num_labels=1)
    shake(scorer, only="layers.0")
    scorer.save_pretrained(folder)
    AutoTokenizer.from_pretrained(bundled_model_dir).save_pretrained(folder)
    trainer = make("separate", head=False, critic_model_name_or_path=folder)
    batch = rollouts(trainer)
    row = int(batch["completion_mask"].sum(dim=1).argmax())
    input_ids, attention_mask, _ = sequences(batch)
    with torch.no_grad():
        score = scorer(input_ids=input_ids[row : row + 1], attention_mask=attention_mask[row : row + 1]).logits
    end = trainer._more_to_load(batch)["end_values"]()[row]
    torch.testing.assert_close(end, score.float().squeeze(), rtol=1e-4, atol=1e-5)
    assert trainer.critic.backbone.dtype == torch.float32


def test_the_kind_of_critic_does_not_change_what_is_sampled(make, rollouts):
    batches = [rollouts(make(critic)) for critic in ("separate", "shared_head", "adapter")]
    assert all(torch.equal(batch["completion_ids"], batches[0]["completion_ids"]) for batch in batches)


@pytest.mark.parametrize(
    "config, message",
    [
        ({"critic": "adapter", "lora": False}, "second LoRA adapter"),
        ({"critic_model_name_or_path": "/no/such/folder"}, "cannot be read"),
        ({"critic": "adapter", "critic_model_name_or_path": "x"}, "belongs to critic 'separate'"),
        ({"critic": "separate", "vf_coef": 0.5}, "belongs to critic 'shared_head'"),
        ({"critic": "adapter", "detach_value_backbone": True}, "belongs to critic 'shared_head'"),
        ({"critic_model_revision": "main"}, "needs `critic_model_name_or_path`"),
        ({"critic": "none"}, "valid values: 'separate', 'shared_head', 'adapter'"),
        ({"critic_learning_rate": 0.0}, "critic_learning_rate"),
        ({"critic_max_grad_norm": 0.0}, "critic_max_grad_norm"),
        ({"critic_warmup_steps": -1}, "critic_warmup_steps"),
        ({"cliprange_value": 0.0}, "clip_range"),
        ({"vf_coef": -1.0, "critic": "shared_head"}, "vf_coef"),
        ({"num_generations": 0}, "num_generations"),
        ({"dual_clip": 1.1}, "dual_clip"),
        ({"dual_clip": 3.0, "delta": 4.0}, "the same bound"),
        ({"dual_clip": 3.0, "policy_loss": "mhpo"}, "clipped loss alone"),
        ({"kl_coef": 0.0, "kl_target": 1.0}, "no weight to adapt"),
        ({"gamma": 1.5}, "gamma"),
        ({"lam": -0.1}, "lam"),
        ({"kl_coef": -0.1}, "kl_coef"),
        ({"kl_estimator": "k4"}, "k4"),
        ({"score_clip": 0.0}, "score_clip"),
        ({"advantage": "grpo"}, "fills that slot itself"),
        ({"loss_type": "vespo"}, "weighs whole completions"),
        ({"scale_rewards": "batch"}, "scale_rewards"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(make, config, message):
    with pytest.raises(ValueError, match=message):
        make(**config, rewards=[reward])


def test_a_critic_of_another_vocabulary_or_with_two_outputs_is_refused(make, bundled_model_dir, tmp_path):
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(bundled_model_dir)
    config.vocab_size = 40
    AutoModel.from_config(config).save_pretrained(tmp_path / "small")
    with pytest.raises(InputError, match="knows 40 tokens"):
        make(critic_model_name_or_path=str(tmp_path / "small"))
    AutoModelForSequenceClassification.from_pretrained(bundled_model_dir, num_labels=3).save_pretrained(tmp_path / "3")
    with pytest.raises(InputError, match="3 outputs"):
        make(critic_model_name_or_path=str(tmp_path / "3"))


def test_an_encoder_is_no_critic(make, tmp_path):
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=5000, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=1
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="reads later tokens"):
        make(critic_model_name_or_path=str(tmp_path / "bert"))
