"""`reward_funcs` of a YAML: every form of an entry, weights, names, and what is refused."""

import sys
from pathlib import Path

import pytest
import user_rewards
import yaml

from alignkit.errors import InputError
from alignkit.rewards import REWARDS, Guard, guard_reward, resolve_reward_funcs, self_check_rewards


FILE = Path(__file__).parent / "user_rewards.py"
ANSWERS = [r"\boxed{7}", "no!"]


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "scorer", 1)


def save_model(folder, num_labels):
    from tiny_qwen import make_tokenizer
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    tokenizer = make_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, pad_token_id=tokenizer.pad_token_id, num_labels=num_labels,
    )  # fmt: skip
    Qwen3ForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def one(spec, **options):
    return resolve_reward_funcs([spec], **options).funcs[0]


def test_every_name_of_the_table_loads_and_has_its_line_of_help():
    for name, named in REWARDS.items():
        assert callable(named.load()) and 20 < len(named.help) < 100, name


def test_every_reward_of_trl_has_its_name():
    import trl.rewards

    theirs = {name for names in trl.rewards._import_structure.values() for name in names}
    assert theirs <= set(REWARDS)


def test_a_yaml_list_gives_guarded_functions_weights_and_names(tmp_path):
    text = f"""
    - math_accuracy
    - {{name: soft_overlong, max_completion_length: 10, soft_punish_cache: 4, weight: 0.5}}
    - {{name: regex, pattern: 'no', as: refuses, weight: -1}}
    - {{name: '{FILE}:word_count', per: 2, deadline: 3}}
    - think_format_reward
    - {{name: get_repetition_penalty_reward, ngram_size: 2}}
    - user_rewards.patient
    """
    found = resolve_reward_funcs(yaml.safe_load(text), deadline=None)
    assert found.names == [
        "math_accuracy", "soft_overlong", "refuses", "word_count", "think_format_reward",
        "repetition_penalty_reward", "patient",
    ]  # fmt: skip
    assert found.weights == [1.0, 0.5, -1.0, 1.0, 1.0, 1.0, 1.0]
    assert all(isinstance(func, Guard) for func in found.funcs)
    assert [func.deadline for func in found.funcs] == [None, None, None, 3, None, None, None]
    assert found.funcs[1](completions=ANSWERS, completion_ids=[[0] * 6, [0] * 8]) == [0.0, -0.5]
    assert found.funcs[2](completions=ANSWERS) == [0.0, 1.0]
    assert found.funcs[3](completions=ANSWERS) == [0.5, 0.5]


@pytest.mark.parametrize(
    "spec, rewards",
    [
        ("boxed_once", [1.0, 0.0]),
        ("user_rewards:word_count", [1.0, 1.0]),
        ("user_rewards.word_count", [1.0, 1.0]),
        (f"{FILE}:word_count", [1.0, 1.0]),
        ({"name": "user_rewards:word_count", "per": 4}, [0.25, 0.25]),
        ({"name": "user_rewards:make_threshold", "at": 5}, [1.0, 0.0]),
        ("user_rewards:Shouting", [0.0, 1.0]),
        ({"name": "user_rewards:Shouting", "mark": "}"}, [1.0, 0.0]),
        ('{"name": "regex", "pattern": "no"}', [0.0, 1.0]),
        ("{name: regex, pattern: no}", [0.0, 1.0]),
        (user_rewards.word_count, [1.0, 1.0]),
        (user_rewards.Shouting(), [0.0, 1.0]),
        ({"name": user_rewards.word_count, "per": 2}, [0.5, 0.5]),
        ("judge:length", [-9.0, -3.0]),
        ({"name": "judge:regex", "pattern": "no", "match_is_good": False}, [1.0, 0.0]),
    ],
)
def test_every_form_of_an_entry(spec, rewards):
    if isinstance(spec, str) and spec.startswith("{name"):
        spec = spec.replace("pattern: no", "pattern: 'no'")
    assert one(spec)(completions=ANSWERS, prompts=["?", "?"]) == rewards


def test_parameters_may_stand_apart_and_the_entrys_own_win():
    kwargs = {"regex": {"pattern": "no", "whole": True}}
    assert one("regex", reward_kwargs=kwargs)(completions=["no", "no!"]) == [1.0, 0.0]
    entry = {"name": "regex", "whole": False}
    assert one(entry, reward_kwargs=kwargs)(completions=["no", "no!"]) == [1.0, 1.0]
    with pytest.raises(InputError, match="`reward_kwargs` names 'regexx'"):
        resolve_reward_funcs(["regex"], reward_kwargs={"regexx": {}})


def test_grading_workers_need_no_deadline_over_theirs_but_take_one():
    assert one("math_accuracy").deadline is None and one("boxed_once").deadline == 600
    assert one({"name": "math_accuracy", "deadline": 9}).deadline == 9


def test_a_single_entry_needs_no_list_and_none_gives_none():
    assert resolve_reward_funcs("boxed_once").names == ["boxed_once"]
    assert resolve_reward_funcs(user_rewards.word_count).names == ["word_count"]
    assert resolve_reward_funcs(None).funcs == [] and resolve_reward_funcs(["boxed_once"]).weights is None


def test_two_of_one_name_are_logged_apart():
    entries = [{"name": "regex", "pattern": "a"}, {"name": "regex", "pattern": "b"}, {"name": "regex", "pattern": "c"}]
    assert resolve_reward_funcs(entries).names == ["regex", "regex_2", "regex_3"]
    with pytest.raises(InputError, match="the name 'regex' is taken"):
        resolve_reward_funcs([entries[0], {**entries[1], "as": "regex"}])


def test_a_guard_is_not_guarded_twice():
    guarded = guard_reward(user_rewards.word_count)
    assert one(guarded) is guarded


def test_weights_come_from_one_place():
    weighted, plain = resolve_reward_funcs([{"name": "boxed_once", "weight": 2}]), resolve_reward_funcs("boxed_once")
    assert weighted.merged_weights(None) == [2.0] and plain.merged_weights([3]) == [3.0]
    assert plain.merged_weights(None) is None
    with pytest.raises(InputError, match="weights are given twice"):
        weighted.merged_weights([3])
    with pytest.raises(InputError, match=r"2 weights for 1 reward functions \(boxed_once\)"):
        plain.merged_weights([1, 2])


def test_a_reward_model_is_left_to_trl(reward_model, monkeypatch):
    assert resolve_reward_funcs([f"{reward_model}/"]).funcs == [reward_model]
    found = resolve_reward_funcs(["boxed_once", reward_model])
    assert found.names == ["boxed_once", "scorer"] and found.funcs[1] == reward_model
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(reward_model)
    found = resolve_reward_funcs([model])
    assert found.funcs == [model] and found.names == ["scorer"]


def test_a_judge_gives_its_score_or_its_win_rate_against_the_reference(reward_model, tmp_path):
    prompts = [[{"role": "user", "content": "What is 3 + 4?"}]] * 2
    completions = [[{"role": "assistant", "content": text}] for text in ANSWERS]
    scores = one(f"judge:{reward_model}")(prompts=prompts, completions=completions)
    from alignkit.judges import load_judge

    judge = load_judge(reward_model)
    assert scores == pytest.approx(judge.scores(prompts, [[text] for text in ANSWERS])[:, 0].tolist())

    file = tmp_path / "judge.yaml"
    file.write_text(f"judge: reward_model\nmodel: {reward_model}\n")
    against = one({"name": f"judge:{file}", "reference_column": "best"})
    assert against(prompts=prompts, completions=completions, best=ANSWERS[::-1]) == pytest.approx(
        judge.compare_batch(prompts, ANSWERS, ANSWERS[::-1]).tolist()
    )
    with pytest.raises(InputError, match="compares with the dataset column 'best', but the columns are answer"):
        against(prompts=prompts, completions=completions, answer=["7"] * 2)
    with pytest.raises(InputError, match=r"row 1 \(counted from 0\) of the batch has '' there"):
        against(prompts=prompts, completions=completions, best=["7", ""])


def test_what_a_judge_cannot_score_is_none_and_counted(reward_model):
    reward = one({"name": "judge:reward_model", "model": reward_model, "max_length": 20, "as": "taste"})
    logged = {}
    rewards = reward(prompts=["?"] * 2, completions=["short", "long " * 50], log_metric=logged.__setitem__)
    assert rewards[0] is not None and rewards[1] is None
    assert logged == {"rewards/taste/none": 1.0, "rewards/taste/nan": 0.0, "rewards/taste/too_long": 1.0}


@pytest.mark.parametrize(
    "spec, message",
    [
        ("math_acuracy", "no reward function 'math_acuracy': did you mean math_accuracy"),
        ("zzz", "give a name .*the names are math_accuracy, "),
        ({"weight": 1}, "reward function 0 .* has no `name`; its keys are weight"),
        ("{name: [}", "is no mapping"),
        ({"name": "boxed_once", "weight": "much"}, "'boxed_once': the weight is 'much'; it must be a finite number"),
        ({"name": "boxed_once", "weight": float("nan")}, "the weight is nan"),
        ({"name": "boxed_once", "deadline": 0}, "deadline is 0; it must be a positive number of seconds"),
        ({"name": "boxed_once", "per": 1}, "'boxed_once' has no parameter 'per'; it has none"),
        ({"name": "regex", "patern": "a"}, "has no parameter 'patern'; it has pattern, whole"),
        ("regex", "'regex': .*missing 1 required positional argument: 'pattern'"),
        ({"name": "brevity", "max_completion_length": 0}, "max_completion_length is 0; it must be above 0"),
        ({"name": "get_repetition_penalty_reward", "max_penalty": 1}, "max_penalty 1 should not be positive"),
        ("no_such_module:f", "there is no module 'no_such_module', neither installed nor in"),
        ("user_rewards:nothing", "user_rewards has no 'nothing'; it has Shouting, asleep"),
        ("user_rewards:NUMBER", "is a int, which cannot be called"),
        ("my/rewards.py", "name the function in it, as my/rewards.py:FUNCTION"),
        ("no/such/file.py:f", "there is no file .*no/such/file.py"),
        ("judge:no/such/folder/here", "model folder no/such/folder/here does not exist"),
        ({"name": "judge:length", "targett": 3}, "judge length has no setting 'targett': did you mean target"),
        ({"name": "judge:some.yaml", "model": "x"}, "takes no setting 'model' here: write it into the file"),
        ("nobody/no-such-model", "neither a folder here nor a model that the Hub"),
        ("bundled/tiny-math", "no trained score head and would score at random"),
    ],
)
def test_bad_entries_are_refused_by_name(spec, message):
    with pytest.raises(InputError, match=message):
        resolve_reward_funcs([spec])


def test_a_file_that_fails_to_run_is_named(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_package\n")
    with pytest.raises(InputError, match=r"running .*broken.py raised ModuleNotFoundError"):
        resolve_reward_funcs([f"{broken}:f"])
    broken.write_text("def f(completions, **columns):\n    return [1.0] * len(completions)\n")
    assert one(f"{broken}:f")(completions=["a"]) == [1.0]


def test_a_module_of_the_working_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "mine_of_here.py").write_text("def f(completions, **columns):\n    return [2.0] * len(completions)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert one("mine_of_here:f")(completions=["a"]) == [2.0]


def test_models_that_cannot_be_a_reward_are_refused(reward_model, tmp_path):
    with pytest.raises(InputError, match="has 2 outputs; a reward model has one"):
        resolve_reward_funcs([save_model(tmp_path / "two", 2)])
    with pytest.raises(InputError, match="which TRL loads and calls; it takes no 'dtype'"):
        resolve_reward_funcs([{"name": reward_model, "dtype": "float32"}])
    other = save_model(tmp_path / "scorer", 1)
    with pytest.raises(InputError, match="would be logged as 'scorer', as another reward is"):
        resolve_reward_funcs([reward_model, other])
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{reward_model}"}}')
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="is an adapter, .* write judge:"):
        resolve_reward_funcs([str(adapter)])


ROWS = [{"prompt": [{"role": "user", "content": "3 + 4?"}], "answer": answer} for answer in ("7", "8")]


def test_self_check_calls_every_function_and_says_what_it_gave(reward_model):
    found = resolve_reward_funcs(["exact_answer", "user_rewards:patient", reward_model, "boxed_once"])
    completions = [[{"role": "assistant", "content": rf"\boxed{{7}}{text}"}] for text in ("", "")]

    def lengths(completions, **columns):
        return [None] * len(completions)

    checks = self_check_rewards([found.funcs[0], *found.funcs[2:], guard_reward(lengths)], ROWS, completions)
    assert [check.name for check in checks] == ["exact_answer", "boxed_once", "lengths"]
    assert checks[0].sentence == "exact_answer scored 2 of 2 completions, from 0 to 1." and not checks[0].suspicious
    assert "all got the same reward" in checks[1].sentence and checks[1].suspicious
    assert checks[2].scored == 0 and checks[2].suspicious
    assert not found.funcs[0].counts
    plain = [{"prompt": "3 + 4?"}]
    assert self_check_rewards([found.funcs[1]], plain)[0].sentence.startswith("patient scored 1 of 1")


def test_self_check_refuses_a_function_that_fails():
    found = resolve_reward_funcs([lambda completions, **columns: [1.0]])
    with pytest.raises(InputError, match="returned 1 rewards for 2 completions"):
        self_check_rewards(found.funcs, ROWS)
