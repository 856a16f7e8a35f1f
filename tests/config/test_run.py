"""From YAML and flags to a run: what is given arrives, what is wrong is named."""

import pytest

from alignkit.config import load_run, read_config
from alignkit.errors import InputError


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_flags_win_over_the_file_and_texts_become_numbers(config):
    path = config("beta: 0.3\nlearning_rate: 1e-4\nuse_peft: true\nmodel_name_or_path: some/model\noutput_dir: here\n")
    run = load_run("madpo", path, ["--beta", "0.2", "--gradient_checkpointing", "false", "--c_max=3"])
    assert run.training.beta == 0.2 and run.training.learning_rate == 1e-4 and run.training.c_max == 3.0
    assert run.model.use_peft is True and run.model.model_name_or_path == "some/model"
    assert run.training.gradient_checkpointing is False
    assert run.given["beta"] == 0.2 and run.config_path == path


def test_lists_are_given_as_yaml_lists_or_as_several_values(config):
    run = load_run("modpo", config("weights: [0.25, 0.75]\n"))
    assert run.training.weights == [0.25, 0.75]
    assert load_run("modpo", None, ["--weights", "0.1", "0.9"]).training.weights == [0.1, 0.9]
    assert load_run("dpo", None, ["--loss_type", "sigmoid", "sft"]).training.loss_type == ["sigmoid", "sft"]


def test_a_mapping_given_as_a_flag_is_one_entry_whatever_commas_it_has():
    entry = "{name: brevity, weight: 0.2, max_completion_length: 24}"
    for given in ([entry], ["math_accuracy", entry]):
        assert load_run("grpo", None, ["--reward_funcs", *given]).training.reward_funcs == given
    assert load_run("grpo", None, ["--reward_funcs", "a,b"]).training.reward_funcs == ["a", "b"]


@pytest.mark.parametrize(
    "text, flags, parts",
    [
        ("betta: 0.1\n", [], ["config.yaml", "`betta`", "`beta`"]),
        ("beta: big\n", [], ["config.yaml", "`beta`", "'big'", "a number"]),
        ("beta: [1, 2]\n", [], ["`beta`", "a number"]),
        ("beta: -1\n", [], ["`beta`", "-1", "(0.0, inf)"]),
        ("beta:\n", [], ["`beta`", "empty"]),
        ("num_train_epochs: true\n", [], ["`num_train_epochs`", "True"]),
        ("beta: 0.1\nbeta: 0.2\n", [], ["config.yaml:2", "`beta`", "twice"]),
        ("beta: 0.1\n  lam: 2\n", [], ["config.yaml:2", "YAML"]),
        ("- beta\n", [], ["config.yaml", "mapping"]),
        ("", ["--c_mx", "3"], ["--c_mx", "`c_max`"]),
        ("", ["--c_max", "1"], ["`c_max`", "1.0", "(1.0, inf)"]),
        ("", ["--c_min", "1"], ["`c_min`", "(0.0, 1.0)"]),
        ("", ["--tau", "0"], ["`tau`", "(0.0, inf)"]),
        ("", ["--lam", "nan"], ["`lam`", "nan"]),
        ("", ["--loss_type", "ipo"], ["`loss_type`", "dpo"]),
        ("", ["--label_smoothing", "0.1"], ["`label_smoothing`", "dpo"]),
        ("", ["--sft_weight", "-0.1"], ["`sft_weight`", "[0.0, inf)"]),
        ("", ["stray"], ["'stray'"]),
    ],
)
def test_bad_configurations_are_refused_by_name(config, text, flags, parts):
    with pytest.raises(InputError) as error:
        load_run("madpo", config(text), flags)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    "flags, parts",
    [
        (["--weights", "0", "1"], ["`weights[0]`", "0.0", "(0.0, inf)"]),
        (["--weights", "1", "-0.5"], ["`weights[1]`", "-0.5"]),
        (["--weights", "1", "inf"], ["`weights[1]`", "inf"]),
        (["--weights", "[]"], ["`weights`", "empty"]),
        (["--weights", "1", "1", "--margin_models", "a", "b"], ["`margin_models`", "2", "1"]),
        (["--weights", "1", "1", "--objective_names", "a"], ["`objective_names`", "1", "2"]),
        (["--loss_type", "ipo"], ["`loss_type`", "'hinge'"]),
        (["--beta", "0"], ["`beta`", "(0.0, inf)"]),
    ],
)
def test_modpo_refuses_what_its_page_refuses(flags, parts):
    with pytest.raises(InputError) as error:
        load_run("modpo", None, flags)
    for part in parts:
        assert part in str(error.value)


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(InputError, match="madpo"):
        load_run("madppo")


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        read_config("nowhere.yaml")


def test_environment_variables_of_the_file_are_set(config, monkeypatch):
    monkeypatch.delenv("ALIGNKIT_TEST_VARIABLE", raising=False)
    load_run("dpo", config("env:\n  ALIGNKIT_TEST_VARIABLE: 7\n"))
    import os

    assert os.environ.pop("ALIGNKIT_TEST_VARIABLE") == "7"
