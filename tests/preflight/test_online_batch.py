"""The arithmetic of online training is that of the trainer itself."""

import itertools

import pytest

from alignkit.config.planning import plan_for
from alignkit.errors import InputError
from alignkit.preflight.online.batch import online_plan
from alignkit.preflight.online.report import plan_lines


def arguments(tmp_path, **options):
    from alignkit import OnlineConfig

    settings = {"per_device_train_batch_size": 8, "num_generations": 4, "bf16": False, "use_cpu": True} | options
    return OnlineConfig(output_dir=str(tmp_path), report_to=[], **settings)


def plan_of(tmp_path, rows=100, processes=1, **options):
    with plan_for(processes):
        return online_plan(arguments(tmp_path, **options), rows, processes)


def test_steps_and_batches_equal_those_of_the_trainer(tmp_path, bundled_model_dir):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from alignkit import OnlineTrainer
    from alignkit.data import load

    model, tokenizer = (loader.from_pretrained(bundled_model_dir) for loader in (AutoModelForCausalLM, AutoTokenizer))
    data = load("bundled/math", split="train[:21]")
    trainer = OnlineTrainer(
        model,
        args=arguments(tmp_path, reward_funcs=["boxed_once"]),
        train_dataset=data,
        processing_class=tokenizer,
    )
    for accumulation, steps, iterations, epochs, max_steps in itertools.product(
        (1, 3), (None, 2, 4), (1, 2), (1, 2.5), (-1, 5)
    ):
        args = arguments(
            tmp_path,
            gradient_accumulation_steps=accumulation,
            steps_per_generation=steps,
            num_iterations=iterations,
            num_train_epochs=epochs,
            max_steps=max_steps,
        )
        trainer.args, trainer.num_iterations = args, iterations
        trainer.create_accelerator_and_postprocess()  # new arguments reset the old one's state
        loader = trainer.get_train_dataloader()
        _, steps_per_epoch, _, _, _, _, total = trainer.set_initial_training_values(args, loader)
        plan = online_plan(args, 21, 1)
        assert (plan.steps_per_epoch, plan.total_steps) == (steps_per_epoch, total)
        first = next(iter(loader))
        assert len(first) == plan.per_generation
        assert len({str(row["prompt"]) for row in first}) == plan.prompts


@pytest.mark.parametrize(
    ("options", "updates", "on_policy"),
    [
        ({}, 1, True),
        ({"gradient_accumulation_steps": 4}, 1, True),
        ({"num_iterations": 2}, 2, False),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 8}, 4, False),
        ({"gradient_accumulation_steps": 4, "steps_per_generation": 2}, 0.5, True),
        ({"gradient_accumulation_steps": 3, "steps_per_generation": 2}, 2 / 3, False),
    ],
)
def test_updates_per_generation_tell_whether_they_are_on_policy(options, updates, on_policy, tmp_path):
    from alignkit.parts.policy_losses.base import is_on_policy

    plan = plan_of(tmp_path, **options)
    assert plan.updates_per_generation == pytest.approx(updates)
    assert plan.is_on_policy is on_policy is is_on_policy(arguments(tmp_path, **options))


def test_a_generation_batch_is_shared_out_over_the_processes(tmp_path):
    plan = plan_of(tmp_path, processes=8, generation_batch_size=128)
    assert (plan.steps_per_generation, plan.per_generation, plan.prompts) == (2, 128, 32)
    plan = plan_of(tmp_path, processes=2, per_device_train_batch_size=2)
    assert (plan.per_generation, plan.prompts) == (4, 1)


def test_the_plan_ends_with_its_block(tmp_path):
    before = arguments(tmp_path).generation_batch_size
    assert plan_of(tmp_path, processes=4).per_generation == 4 * before
    assert arguments(tmp_path).generation_batch_size == before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_iterations": 2}, "each completion is trained on 2 times; 2 updates per generation batch"),
        ({"gradient_accumulation_steps": 4, "steps_per_generation": 2}, "an update takes 2 generation batches"),
        (
            {"num_iterations": 2, "save_steps": 3},
            "every 3 updates, also within a generation batch, whose rest it holds",
        ),
        ({"save_steps": 0.5, "max_steps": 10}, "a checkpoint every 5 updates"),
        ({"save_strategy": "no"}, "no checkpoint is written"),
        ({"per_device_train_batch_size": 12}, "(1 of its rows, drawn anew, are left out)"),
        ({"max_steps": 7, "num_iterations": 2}, "4 generation batches, 32 completions"),
    ],
)
def test_the_words_say_what_the_numbers_do(options, text, tmp_path):
    assert text in "\n".join(plan_lines(plan_of(tmp_path, **options)))


def test_rows_that_fill_no_generation_batch_are_refused(tmp_path):
    with pytest.raises(InputError, match="3 rows do not fill one generation batch of 4 prompts"):
        plan_of(tmp_path, rows=3, processes=2)
    with pytest.raises(InputError, match="set `max_steps`"):
        plan_of(tmp_path, rows=None)
    assert plan_of(tmp_path, rows=None, max_steps=5).total_steps == 5


def test_world_size_outside_of_a_plan_is_that_of_the_launcher(tmp_path):
    args = arguments(tmp_path)
    assert args.world_size == 1
    with plan_for(None):
        assert args.world_size == 1
    with plan_for(3):
        assert args.world_size == 3
