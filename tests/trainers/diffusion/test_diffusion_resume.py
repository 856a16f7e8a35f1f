"""A resumed run is the uninterrupted run: weights, average, reference pool, generators; tolerance 0 on a CPU."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from alignkit.errors import InputError
from alignkit.trainers.diffusion.lora import snapshot
from alignkit.trainers.diffusion.pool import ReferencePool


SEPPO = {"steps_per_iteration": 2, "num_iterations": 3, "save_strategy": "steps", "save_steps": 3}
DPO = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}


def logged(trainer):
    """What the run logged of every step, without times."""
    return {
        entry["step"]: (entry["loss"], entry["errors/ref_other"])
        for entry in trainer.state.log_history
        if "loss" in entry
    }


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    "key, pipeline, lora, settings",
    [
        ("seppo", "unet-epsilon", True, {**SEPPO, "ema_decay": 0.9}),
        pytest.param("diffusion_dpo", "dit-flow", True, DPO, marks=pytest.mark.slow),
        pytest.param("seppo", "dit-flow", False, {**SEPPO, "ema_decay": 0.9}, marks=pytest.mark.slow),
        pytest.param("seppo", "sdxl", True, {**SEPPO, "lora_dropout": 0.5, "rows": 5}, marks=pytest.mark.slow),
    ],
)
def test_resume_within_an_iteration_and_across_an_epoch_is_exact(build, key, pipeline, lora, settings):
    settings = dict(settings)
    dropout = settings.pop("lora_dropout", 0.0)
    whole = build(key, pipeline, "whole", lora, **settings)
    set_dropout(whole.model, dropout)
    whole.train()
    resumed = build(key, pipeline, "resumed", lora, **settings)
    set_dropout(resumed.model, dropout)
    resumed.train(resume_from_checkpoint=str(Path(whole.args.output_dir, "checkpoint-3")))
    assert same(snapshot(whole.model), snapshot(resumed.model))
    assert logged(whole) == logged(resumed)
    for name, generator in whole.generators.items():
        assert torch.equal(generator.get_state(), resumed.generators[name].get_state()), name
    folders = [Path(trainer.args.output_dir, "checkpoint-6") for trainer in (whole, resumed)]
    if settings.get("ema_decay"):
        averages = [load_file(folder / "ema.safetensors") for folder in folders]
        assert same(*averages) and not same(averages[0], snapshot(whole.model))
    if key == "seppo":
        states = [json.loads((folder / "diffusion_state.json").read_text()) for folder in folders]
        assert states[0] == states[1] and states[0]["state"]["num_snapshots"] == 4
        pools = [ReferencePool(folder / "_reference_pool") for folder in folders]
        assert len(pools[0]) == len(pools[1]) == 4
        assert all(same(pools[0].read(index), pools[1].read(index)) for index in range(4))
        assert not same(pools[0].read(1), pools[0].read(2))


def set_dropout(denoiser, probability):
    for name, module in denoiser.named_modules():
        if "lora_dropout" in name and isinstance(module, torch.nn.Dropout | torch.nn.Identity):
            parent, _, leaf = name.rpartition(".")
            denoiser.get_submodule(parent)[leaf] = torch.nn.Dropout(probability)


def test_a_checkpoint_without_its_reference_pool_is_refused_before_training(build):
    trainer = build("seppo", **{**SEPPO, "num_iterations": 2})
    trainer.train()
    checkpoint = Path(trainer.args.output_dir, "checkpoint-3")
    for path in (checkpoint / "_reference_pool").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="reference pool holds no checkpoint yet"):
        build("seppo", **{**SEPPO, "num_iterations": 2}).train(resume_from_checkpoint=str(checkpoint))


def test_a_pool_without_its_newest_checkpoint_says_how_many_it_has(tmp_path):
    pool = ReferencePool(tmp_path)
    with pytest.raises(InputError, match="no checkpoint yet"):
        pool.read(0)
    pool.write(0, {"weight": torch.zeros(2)})
    with pytest.raises(InputError, match="only 1 of 3 checkpoints"):
        pool.copy_to(tmp_path / "copy", 3)


def test_writing_a_snapshot_again_leaves_the_copies_of_checkpoints_alone(tmp_path):
    pool = ReferencePool(tmp_path / "pool")
    pool.write(0, {"weight": torch.zeros(2)})
    pool.copy_to(tmp_path / "checkpoint", 1)
    pool.copy_to(tmp_path / "checkpoint", 1)
    pool.write(0, {"weight": torch.ones(2)})
    assert ReferencePool(tmp_path / "checkpoint").read(0)["weight"].tolist() == [0, 0]
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == ["snapshot-0000.safetensors"]


def test_an_evaluation_before_training_has_no_reference_yet(build):
    trainer = build("seppo", eval_rows=2)
    with pytest.raises(InputError, match="reference pool holds no checkpoint yet"):
        trainer.evaluate()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"method": "diffusion_dpo"}, "written by the method diffusion_dpo"),
        ({"num_processes": 4}, "written by 4 processes"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(build, tmp_path, change, message):
    checkpoint = tmp_path / "checkpoint-1"
    checkpoint.mkdir()
    (checkpoint / "diffusion_state.json").write_text(
        json.dumps({"method": "seppo", "num_processes": 1, "state": {}} | change)
    )
    (checkpoint / "trainer_state.json").write_text("{}")
    with pytest.raises(InputError, match=message):
        build("seppo")._load_from_checkpoint(str(checkpoint))
