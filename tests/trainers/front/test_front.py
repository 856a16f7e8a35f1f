"""The front of MODPO: points trained once, measured on both objectives, and put together."""

import argparse
import csv
import json
import re
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from alignkit.cli import front as front_command
from alignkit.config import load_run, recipe_path
from alignkit.errors import InputError
from alignkit.judges import LengthJudge
from alignkit.trainers.front import front_method
from alignkit.trainers.front import runner as runner_module
from alignkit.trainers.front.endpoint import other_objective_loss
from alignkit.trainers.front.front import summarise
from alignkit.trainers.front.runner import FrontRunner


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def point(name, first, second):
    """A point with these mean scores on the objectives a and b."""
    scores = {key: {"mean": value, "standard_error": 0.1} for key, value in (("a", first), ("b", second))}
    return {"name": name, "weights": [0.5, 0.5], "path": name, "scores": scores}


def run_of(fields, *flags):
    folder = Path(fields["output_dir"])
    config = folder.parent / "front.yaml"
    config.write_text(yaml.safe_dump(fields))
    return load_run(front_method("modpo"), str(config), list(flags))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """12 scored pairs and 6 problems to measure on."""
    from alignkit.data import load

    folder = tmp_path_factory.mktemp("front")
    for name, rows in {
        "pairs": load("bundled/preference_scored", split="train[:12]"),
        "problems": load("bundled/math", split="train[:6]"),
    }.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def fields_of(data, folder):
    return {
        "model_name_or_path": "bundled/tiny-math",
        "dataset_name": str(data / "pairs.jsonl"),
        "eval_dataset_name": str(data / "problems.jsonl"),
        "eval_judges": ["exact_answer", "length"],
        "objective_names": ["correctness", "brevity"],
        "front_weights": [0.5, 1.0],
        "output_dir": str(folder / "front"),
        "max_completion_length": 32,
        "use_peft": True,
        "lora_r": 4,
        "lora_target_modules": ["all-linear"],
        "learning_rate": 1e-2,
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "save_steps": 1,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
    }


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A front of two points, from the command line: its folder, its fields and what was printed."""
    fields = fields_of(data, tmp_path_factory.mktemp("whole"))
    run_of(fields)
    parser = argparse.ArgumentParser(add_help=False)
    front_command.add_arguments(parser)
    config = str(Path(fields["output_dir"]).parent / "front.yaml")
    args, extra = parser.parse_known_args(["modpo", "--config", config, "--weights", "0.5,1"])
    assert front_command.run(args, extra) == 0
    return Path(fields["output_dir"]), fields


def test_every_point_is_an_adapter_of_its_own_weights_on_one_base(whole):
    folder, _ = whole
    tensors = {}
    for name, weights in (("w_0.5", [0.5, 0.5]), ("w_1", [1.0, 0.0])):
        facts = json.loads((folder / name / "trained" / "alignkit_run.json").read_text())
        assert facts["config"]["weights"] == weights and facts["method"] == "modpo"
        tensors[name] = load_file(folder / name / "trained" / "adapter_model.safetensors")
    assert any(not torch.equal(tensors["w_0.5"][key], tensors["w_1"][key]) for key in tensors["w_1"])
    assert not list(folder.glob("**/training")) and not list(folder.glob("**/*.tmp"))


def test_scores_are_the_means_of_what_the_judges_say_of_the_written_responses(whole, data):
    folder, _ = whole
    problems = [json.loads(line) for line in (data / "problems.jsonl").read_text().splitlines()]
    for name in ("base", "w_0.5", "w_1"):
        rows = [json.loads(line) for line in (folder / name / "responses.jsonl").read_text().splitlines()]
        scores = json.loads((folder / name / "scores.json").read_text())
        assert [row["prompt"] for row in rows] == [problem["prompt"] for problem in problems]
        lengths = [-len(row["response"]) for row in rows]
        assert scores["brevity"]["mean"] == pytest.approx(sum(lengths) / 6)
        assert scores["correctness"]["mean"] == pytest.approx(sum(row["correctness"] for row in rows) / 6)
        for problem, row in zip(problems, rows, strict=True):
            boxed = re.search(r"\\boxed\{(\d+)\}", row["response"])
            assert boxed is None or row["correctness"] == float(boxed[1] == problem["answer"])


def test_table_and_json_name_the_same_points_and_the_picture_is_there(whole):
    folder, _ = whole
    front = json.loads((folder / "front.json").read_text())
    table = list(csv.DictReader((folder / "front.csv").open()))
    assert [row["name"] for row in table] == [item["name"] for item in front["points"]] == ["base", "w_0.5", "w_1"]
    for row, item in zip(table, front["points"], strict=True):
        assert float(row["brevity"]) == item["scores"]["brevity"]["mean"]
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
    assert front["hypervolume"] >= 0


def test_finished_points_are_not_trained_again_and_new_weights_are_added(whole, monkeypatch, capsys):
    folder, fields = whole
    before = {path: path.stat().st_mtime_ns for path in folder.glob("w_*/trained/*")}
    trained = []
    assemble = runner_module.assemble

    def count(run, cls, training, *args, **kwargs):
        trained.append((training.weights, cls.__name__))
        return assemble(run, cls, training, *args, **kwargs)

    monkeypatch.setattr(runner_module, "assemble", count)
    front = FrontRunner(run_of(fields, "--front_weights", "0", "0.25", "1", "0.5")).run()
    assert trained == [([0.0, 1.0], "OtherObjectiveTrainer"), ([0.25, 0.75], "MODPOTrainer")]
    assert [item["name"] for item in front["points"]] == ["base", "w_0", "w_0.25", "w_0.5", "w_1"]
    assert json.loads((folder / "w_0" / "trained" / "alignkit_run.json").read_text())["config"]["weights"] == [
        0.0,
        1.0,
    ]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_killed_while_a_point_trains_and_resumed_equals_uninterrupted(whole, data, tmp_path, monkeypatch):
    from transformers import TrainerCallback

    folder, _ = whole
    fields = fields_of(data, tmp_path) | {"front_weights": [0.5]}
    assemble = runner_module.assemble

    class Dies(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            if state.global_step == 2:
                raise Killed

    def dying(*args, **kwargs):
        trainer = assemble(*args, **kwargs)
        trainer.add_callback(Dies())
        return trainer

    monkeypatch.setattr(runner_module, "assemble", dying)
    with pytest.raises(Killed):
        FrontRunner(run_of(fields)).run()
    monkeypatch.setattr(runner_module, "assemble", assemble)
    assert (tmp_path / "front" / "w_0.5" / "training" / "checkpoint-2").is_dir()
    FrontRunner(run_of(fields)).run()
    name = "w_0.5/trained/adapter_model.safetensors"
    left, right = load_file(folder / name), load_file(tmp_path / "front" / name)
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_changed_settings_and_changed_judges_are_refused(whole):
    _, fields = whole
    with pytest.raises(InputError, match=r"`beta` \(was 0.1, now 0.3\)"):
        FrontRunner(run_of(fields, "--beta", "0.3"))
    with pytest.raises(InputError, match=r"`judge \(content\)`"):
        FrontRunner(run_of(fields), judges={"correctness": LengthJudge(), "brevity": LengthJudge()})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"front_weights": [-0.1, 0.5]}, "`front_weights` is -0.1"),
        ({"front_weights": [1.5]}, "`front_weights` is 1.5"),
        ({"front_weights": [0.5, 0.5]}, "two of them are the same"),
        ({"front_weights": []}, "`front_weights` is empty"),
        ({"eval_judges": ["length"]}, "`eval_judges` names 1; expected 2"),
        ({"eval_dataset_name": None}, "`eval_dataset_name` is missing"),
        ({"reference_point": [1.0]}, "`reference_point` holds 1"),
        ({"num_eval_prompts": 0}, "`num_eval_prompts` is 0"),
    ],
)
def test_bad_settings_are_refused_by_name(data, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run_of(fields_of(data, tmp_path) | changes)


def test_weight_zero_has_its_minimum_at_the_closed_form_of_the_second_objective():
    """12 responses, every pair: pi is proportional to pi_ref exp(r_1 / beta), whichever of a pair is called chosen."""
    generator = torch.Generator().manual_seed(0)
    reference, reward = (torch.randn(12, generator=generator, dtype=torch.float64) for _ in range(2))
    first, second = torch.triu_indices(12, 12, offset=1)
    flipped = torch.rand(len(first), generator=generator) < 0.5
    first, second = torch.where(flipped, second, first), torch.where(flipped, first, second)
    logits = reference.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        ratio = logits - reference
        value = other_objective_loss(ratio[first] - ratio[second], reward[first] - reward[second], beta=0.5).mean()
        value.backward()
        return value

    optimizer.step(loss)
    expected = (reference + reward / 0.5).softmax(0)
    assert (logits.detach().softmax(0) - expected).abs().sum() / 2 < 1e-5


def test_the_gradient_reaches_neither_reward():
    margin = torch.tensor([0.7], requires_grad=True)
    gap = torch.zeros(1, requires_grad=True)
    other_objective_loss(gap, margin, beta=2.0).sum().backward()
    assert margin.grad is None
    # At the reference: beta (1/2 - sigma(m)).
    assert gap.grad.item() == pytest.approx(2.0 * (0.5 - torch.sigmoid(torch.tensor(0.7)).item()))


def test_recipe_is_accepted():
    run = load_run(front_method("modpo"), str(recipe_path("modpo-front")))
    assert run.training.names == ["correctness", "brevity"] and run.training.front_weights[-1] == 1.0


def test_help_lists_the_fields_of_the_front(capsys):
    parser = argparse.ArgumentParser(add_help=False)
    front_command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["modpo", "--help"])
    text = capsys.readouterr().out
    assert "--eval_judges" in text and "--margin_models" in text and "--weights W,W,..." in text


def test_method_without_a_front_is_refused():
    with pytest.raises(InputError, match="the method 'dpo' has no front; methods that have one: modpo"):
        front_method("dpo")


def test_dominated_points_are_named_and_the_hypervolume_is_the_area_above_the_reference():
    points = [point("base", 0.0, 0.0), point("w_0.5", 1.0, 2.0), point("w_0.9", 2.0, 1.0), point("w_0.7", 0.5, 0.5)]
    front = summarise(["a", "b"], points, reference_point=[0.0, 0.0])
    assert [item["non_dominated"] for item in front["points"]] == [False, True, True, False]
    assert front["hypervolume"] == pytest.approx(3.0) and front["hypervolume_of_the_base"] == 0.0
    own = summarise(["a", "b"], points[1:3])
    assert own["reference_point"] == [1.0, 1.0] and own["hypervolume"] == 0.0


def test_reference_point_above_every_point_is_refused():
    with pytest.raises(InputError, match="no point is better on both objectives"):
        summarise(["a", "b"], [point("base", 0.0, 0.0)], reference_point=[1.0, 1.0])


def test_missing_library_is_named_before_anything_is_trained(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "moocore", None)
    with pytest.raises(InputError, match=r"the front needs moocore .*pip install 'alignkit\[pareto\]'"):
        FrontRunner(run_of(fields_of(data, tmp_path)))
    assert not (tmp_path / "front").exists()
