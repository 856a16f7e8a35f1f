"""What the loop refuses, and what it says: before training, in one sentence, naming field and value."""

import json

import pytest
from loop_runs import Killed, runner

from alignkit.cli import main
from alignkit.errors import InputError
from alignkit.judges import Judge, RegexJudge
from alignkit.trainers.iterative import LOOPS, loop_method


def nothing(context):
    raise Killed


def nothing_trains(monkeypatch):
    monkeypatch.setattr("alignkit.trainers.iterative.runner.train", nothing)


@pytest.mark.parametrize(
    "key, change, message",
    [
        ("dpo", {"num_generations": 1}, "`num_generations` is 1; valid range: .2"),
        ("dno", {"num_generations": 1}, "`num_generations` is 1; valid range: .2"),
        ("inpo", {"num_generations": 6}, "`num_generations` is 6; .*power of two"),
        ("sppo", {"eta": 0.0}, "`eta` is 0.0"),
        ("sppo", {"beta": 0.3}, "`beta` is 0.3.*eta = 1 / beta"),
        ("sppo", {"win_rate_mode": "mean"}, "`win_rate_mode` is 'mean'"),
        ("inpo", {"num_generations": 4, "eta": 0.1, "tau": 0.2}, "`tau` is 0.2"),
        ("dno", {"replay_fraction": 1.5}, "`replay_fraction` is 1.5"),
        ("dno", {"margin": 0.0}, "`margin` is 0.0"),
        ("apo_accelerated", {"alpha": 1.0}, "`alpha` is 1.0"),
        ("apo_accelerated", {"loss_type": ["sppo_hard"]}, "`loss_type` is .'sppo_hard'"),
        ("dpo", {"num_iterations": 0}, "`num_iterations` is 0"),
        ("dpo", {"temperature": 0.0}, "`temperature` is 0.0"),
        ("dpo", {"judge": None}, "`judge` is missing"),
        ("dpo", {"judge": "no/such-judge"}, "no/such-judge"),
        ("dpo", {"judge": "judge.yaml"}, "judge.yaml"),
        ("dpo", {"judge": "exact_answer", "answer_column": "result"}, "prompt 0 .*'result'"),
        ("dpo", {"model_name_or_path": "no/such-model"}, "no/such-model"),
        ("dno", {"gold_column": "teacher"}, "prompt 0 .*'teacher'.*gold_column"),
        ("dpo", {"num_prompts": 1}, "num_iterations"),
        ("dpo", {"samples": 3}, "no field `samples`"),
        ("dno", {"judge": "compare.yaml"}, "rank_by"),
        ("apo_accelerated", {"use_peft": True, "use_dora": True}, "LoRA adapter of this run has `use_dora` True"),
        ("apo_accelerated", {"use_peft": True, "lora_modules_to_save": ["lm_head"]}, "`modules_to_save` .'lm_head'"),
        (
            "apo_accelerated",
            {"model_name_or_path": "dora"},
            "`use_dora` True; apo_accelerated extrapolates plain LoRA",
        ),
    ],
)
def test_bad_settings_are_refused_before_anything_is_computed(settings, tmp_path, monkeypatch, key, change, message):
    (tmp_path / "compare.yaml").write_text(
        "judge: vote\njudges:\n  - {judge: length}\n  - {judge: length, target: 3}\n  - {judge: regex, pattern: '1'}\n"
    )
    if str(change.get("judge")).endswith(".yaml"):
        change = {"judge": str(tmp_path / change["judge"])}
    if change.get("model_name_or_path") == "dora":
        change = {"model_name_or_path": save_adapter(tmp_path / "dora", use_dora=True)}
    monkeypatch.setattr("alignkit.trainers.iterative.runner.baseline", None)
    with pytest.raises(InputError, match=message):
        runner(key, {**settings, **change}).run()


def save_adapter(folder, **config) -> str:
    """An adapter on the bundled model."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from alignkit.data.bundled import resolve_model

    model = AutoModelForCausalLM.from_pretrained(resolve_model("bundled/tiny-math"))
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], **config)).save_pretrained(folder)
    return str(folder)


def test_a_missing_gold_is_named_by_its_row(settings, tmp_path):
    rows = [json.loads(line) for line in open(settings["dataset_name"])]
    rows[5]["solution"] = None
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings.update(dataset_name=str(tmp_path / "rows.jsonl"), gold_column="solution")
    with pytest.raises(InputError, match="prompt 5 .*'solution'"):
        runner("dno", settings)


TEXTS = ["one", "a second", "and a third", "the fourth of them"]


@pytest.fixture
def canned(monkeypatch):
    """`canned(texts, finish_reason)`: what the model "samples", K texts for each prompt; training stops the test."""

    def use(texts, finish_reason="stop"):
        def sample(context, model, rows, count, sampling, scope, log_path):
            return [
                {
                    "prompt_id": row["prompt_id"],
                    "k": k,
                    "text": texts[k],
                    "token_ids": [5, 6, 7],
                    "finish_reason": finish_reason,
                    "seed": 0,
                    "is_teacher": False,
                }
                for row in rows
                for k in range(count)
            ]

        for stage in ("generate", "evaluate"):
            monkeypatch.setattr(f"alignkit.trainers.iterative.stages.{stage}.sample", sample)
        nothing_trains(monkeypatch)

    return use


@pytest.mark.parametrize("key", LOOPS)
def test_a_judge_that_finds_all_equal_is_said_before_training(settings, canned, key):
    settings["num_generations"] = 4
    canned(TEXTS)
    with pytest.raises(InputError, match=r"no pair from 4 prompts: mostly the judge finds all .* tie 4"):
        runner(key, settings, judge=RegexJudge("never in a response")).run()


@pytest.mark.parametrize(
    "texts, finish_reason, message",
    [
        (["the same"] * 4, "stop", "the same text .raise `temperature`.*duplicate 4"),
        (TEXTS, "length", "raise `max_completion_length`.*truncated 4"),
        (["", " ", "\n", "one"], "stop", "responses are empty.*empty 4"),
    ],
)
def test_responses_that_give_no_pair_are_said_before_training(settings, canned, texts, finish_reason, message):
    canned(texts, finish_reason)
    with pytest.raises(InputError, match=message):
        runner("dpo", settings).run()


def test_a_judge_that_always_fails_is_said_before_training(settings, canned):
    class Broken(RegexJudge):
        def score_batch(self, prompts, responses):
            return super().score_batch(prompts, responses) * float("nan")

    canned(TEXTS)
    with pytest.raises(InputError, match="the judge failed.*failed 4"):
        runner("dpo", settings, judge=Broken("1")).run()


def test_a_judge_that_only_compares_serves_the_loop(settings, canned, monkeypatch):
    import numpy as np

    class Shorter(Judge):
        def identity(self):
            return {"judge": "shorter"}

        def compare_batch(self, prompts, first, second):
            self.stats.calls += len(prompts)
            pairs = zip(first, second, strict=True)
            return np.array([(1 + (len(a) < len(b)) - (len(a) > len(b))) / 2 for a, b in pairs])

    canned(TEXTS)
    monkeypatch.setattr("alignkit.trainers.iterative.runner.reference", nothing)
    counts = {}
    for key in ("sppo", "inpo"):
        settings.update(num_generations=4, output_dir=settings["output_dir"] + key)
        with pytest.raises(Killed):
            runner(key, settings, judge=Shorter()).run()
        metrics = json.loads(open(settings["output_dir"] + "/iter_0/pairs_metrics.json").read())
        counts[key] = metrics["judge/calls"]
    # All pairs of 4 responses are 6, the tournament needs 3 * 4 / 2 - 1 = 5; 4 prompts.
    assert counts == {"sppo": 24, "inpo": 20}


def test_the_command_says_bad_input_in_one_line_and_exits_with_two(settings, capsys):
    assert main(["loop", "sppo", "--judge", "length", "--eta", "-1", "--output_dir", settings["output_dir"]]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("alignkit: error: ") and "`eta` is -1.0" in error
    assert main(["loop", "madpo"]) == 2 and "has no loop" in capsys.readouterr().err


@pytest.mark.parametrize(
    "key, flags, message",
    [
        ("sppo", ["--num_generations", "1"], "`num_generations` is 1"),
        ("dno", ["--gold_column", "teacher"], "no value|has None in the column 'teacher'"),
        ("dpo", ["--judge", "./no/such-judge"], "no/such-judge"),
        ("dpo", ["--judge", "no-such-judge.yaml"], "no-such-judge.yaml cannot be read"),
        ("sppo", ["--judge", "{ties}"], "gives no pair from 4 prompts: mostly the judge finds all"),
        ("dpo", ["--judge", "length"], "the responses are the same text"),
    ],
)
def test_each_bad_input_ends_the_command_with_two_and_one_sentence_before_training(
    settings, canned, tmp_path, capsys, key, flags, message
):
    """One response per prompt, no gold answer, a judge that is not there, all tied, all duplicates."""
    import re

    (tmp_path / "ties.yaml").write_text("judge: regex\npattern: never in a response\n")
    (tmp_path / "loop.yaml").write_text(json.dumps({**settings, "num_generations": 4}))
    canned(["the same"] * 4 if flags == ["--judge", "length"] else TEXTS)
    flags = [flag.format(ties=tmp_path / "ties.yaml") for flag in flags]
    assert main(["loop", key, "--config", str(tmp_path / "loop.yaml"), *flags]) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("alignkit: error: ")]
    assert re.search(message, line), line


@pytest.mark.parametrize(
    "key, own",
    [
        ("dpo", {"judge": "length"}),
        ("sppo", {"judge": "compare.yaml"}),
        ("inpo", {"judge": "compare.yaml"}),
        ("dno", {"judge": "length", "gold_column": "solution", "min_positive": -1000.0}),
    ],
)
def test_what_is_planned_is_what_the_judge_is_asked_for(settings, canned, tmp_path, monkeypatch, caplog, key, own):
    """A judge that only compares is asked for all pairs, or for the tournament; one with scores once per response."""
    from alignkit.trainers.iterative import runner as loop_runner

    class Shorter(Judge):
        def identity(self):
            return {"judge": "shorter"}

        def compare_batch(self, prompts, first, second):
            import numpy as np

            self.stats.calls += len(prompts)
            return np.array([float(len(a) < len(b)) for a, b in zip(first, second, strict=True)])

    def no_training(context):
        (context.iteration_dir / "trained").symlink_to(context.model_path(context.state.policy))
        (context.iteration_dir / "train_metrics.json").write_text("{}")

    canned(TEXTS)
    judge = Shorter() if own["judge"] == "compare.yaml" else None
    settings.update(own, judge="length", num_generations=4)
    monkeypatch.setattr(loop_runner, "train", no_training)
    monkeypatch.setattr(loop_runner, "reference", lambda context: (context.iteration_dir / "dataset.jsonl").touch())
    loop = runner(key, settings, judge=judge)
    with caplog.at_level("INFO"):
        loop.run()
    asked = loop.context.judge.stats.calls
    assert loop.plan.judgements[1] == asked
    assert f"the judge is asked for {asked} " in caplog.text


def test_several_processes_are_refused(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["loop", "dpo", "--judge", "length"]) == 2
    assert "launched with 2 processes" in capsys.readouterr().err


@pytest.mark.parametrize("key", LOOPS)
def test_help_lists_the_fields_of_the_loop(key, capsys):
    assert main(["loop", key, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--num_generations" in shown and "--max_length" in shown and "--num_iterations" in shown


@pytest.mark.parametrize("key", LOOPS)
def test_fields_read_from_the_source_are_those_of_the_class(key):
    """`--help` reads the sources only; the defaults that it shows must be the real ones."""
    from dataclasses import MISSING, fields

    from alignkit.config import NOT_GIVEN, config_fields

    method = loop_method(key)
    read, real = config_fields(method), {item.name: item for item in fields(method.load_config()) if item.init}
    assert set(real) <= set(read)
    for name in (
        "num_generations",
        "temperature",
        "top_p",
        "judge",
        "eta",
        "gold_column",
        "alpha",
        "num_eval_prompts",
    ):
        if name in real:
            assert read[name].default is not NOT_GIVEN and real[name].default is not MISSING
            assert read[name].default == real[name].default and read[name].help
