"""The harness inside other people's loops: `evaluate` metrics and the training callback."""

import evaluate
import numpy as np
import pytest
import torch

import alignkit.eval.metrics
from alignkit.errors import InputError
from alignkit.eval import evaluate as run_harness
from alignkit.eval.callback import add_eval_suite


def test_math_accuracy_is_an_evaluate_metric_and_works_in_compute_metrics():
    metric = alignkit.eval.metrics.load("math_accuracy")
    assert isinstance(metric, evaluate.Metric)
    texts = ["so \\boxed{\\frac{1}{2}}", "it is 7", "I do not know"]

    def compute_metrics(prediction):
        answers, golds = prediction
        return metric.compute(predictions=[texts[place] for place in answers], references=golds)

    assert compute_metrics((np.array([0, 1, 2]), ["0.5", "8", "1"])) == pytest.approx(
        {"accuracy": 1 / 3, "no_answer": 1 / 3, "timed_out": 0}
    )


def test_pass_at_k_metric_counts_votes_by_equivalence():
    metric = alignkit.eval.metrics.load("pass_at_k")
    answers = ["\\boxed{\\frac{1}{2}}", "\\boxed{0.5}", "\\boxed{3}", "nothing"]
    figures = metric.compute(predictions=[answers, ["\\boxed{1}"] * 4], references=["1/2", "2"])
    assert figures == pytest.approx(
        {
            "avg@4": 0.25,
            "pass@1": 0.25,
            "maj@1": 0.25,
            "pass@2": 5 / 12,
            "maj@2": 5 / 12,
            "pass@4": 0.5,
            "maj@4": 0.5,
        }
    )


def test_win_rate_metric_leaves_out_what_has_no_verdict():
    figures = alignkit.eval.metrics.load("win_rate").compute(predictions=[1.0, 2.0, 1.5, float("nan")])
    assert figures["win_rate"] == figures["discrete_win_rate"] == pytest.approx(0.5)


def test_metrics_combine_and_unknown_ones_are_refused():
    both = evaluate.combine([alignkit.eval.metrics.load("math_accuracy")])
    assert both.compute(predictions=["\\boxed{2}"], references=["2"])["accuracy"] == 1
    with pytest.raises(InputError, match="there are math_accuracy"):
        alignkit.eval.metrics.load("accuracy")


@pytest.fixture(scope="module")
def train(bundled_model_dir, tmp_path_factory):
    """Train the bundled model for four steps, with or without the callback; return the trainer."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [{"prompt": f"what is {i} + 2? ", "completion": f"\\boxed{{{i + 2}}}"} for i in range(8)]

    def build(suites=None, **options):
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("train")
        config = SFTConfig(
            output_dir=str(folder),
            max_steps=4,
            per_device_train_batch_size=2,
            learning_rate=1e-3,
            logging_steps=1,
            report_to="none",
            use_cpu=True,
            bf16=False,
            **{"save_strategy": "no", **options},
        )
        trainer = SFTTrainer(bundled_model_dir, args=config, train_dataset=Dataset.from_list(rows))
        callbacks = add_eval_suite(trainer, suites) if suites else []
        trainer.train()
        return trainer, callbacks

    return build


def test_callback_logs_what_the_harness_measures_and_leaves_the_training_alone(train, bundled_model_dir, tmp_path):
    plain, _ = train()
    trainer, (callback,) = train("tiny_math:6", save_strategy="steps", save_steps=2)
    steps = [own["step"] for own in callback.history]
    assert steps == [0, 2, 4]
    logged = {own["step"]: own for own in trainer.state.log_history if "eval_tiny_math/accuracy" in own}
    assert sorted(logged) == steps
    before = run_harness([bundled_model_dir], "tiny_math", tmp_path / "before", limit=6, num_workers=1)
    assert callback.history[0]["eval_tiny_math/accuracy"] == pytest.approx(before.models[0].accuracy)
    assert callback.history[0]["eval_tiny_math/tokens"] == pytest.approx(before.models[0].mean_tokens)
    losses = [[own["loss"] for own in run.state.log_history if "loss" in own] for run in (plain, trainer)]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    for name, weight in plain.model.named_parameters():
        assert torch.equal(weight, dict(trainer.model.named_parameters())[name])
    assert trainer.processing_class.padding_side == plain.processing_class.padding_side


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tiny_mat:5", "did you mean tiny_math"),
        ("tiny_math:0", "number of items"),
        ("tiny_math:x", "number of items"),
        ("alpaca_eval2:5", "only graded suites"),
    ],
)
def test_bad_suites_are_refused_before_training(spec, message):
    with pytest.raises(InputError, match=message):
        add_eval_suite(None, spec)
