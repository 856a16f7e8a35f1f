import json

import pytest
from arena_world import CREATIVE, HARD, TEMPLATE, lines, write_tree

from alignkit.errors import InputError
from alignkit.eval.arena_hard.official_files import (
    PlayedGame,
    Question,
    answer_row,
    judgment_row,
    read_answers,
    read_questions,
)
from alignkit.eval.arena_hard.prompts import read_prompts
from alignkit.eval.arena_hard.sources import Sources
from alignkit.eval.arena_hard.stored_files import read_games, read_styles
from alignkit.eval.arena_hard.style import count_style
from alignkit.eval.arena_hard.tokens import token_counter
from alignkit.eval.arena_hard.versions import V01, V2


VERSIONS = [V01, V2]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.delenv("ALIGNKIT_EVAL_DATA", raising=False)
    return write_tree(tmp_path / "arena-hard-auto")


def test_the_official_tree_is_read(tree):
    new, old = Sources(V2, str(tree)), Sources(V01, str(tree))
    questions = read_questions(new.questions(), V2)
    assert [own.category for own in questions] == ["hard_prompt"] * 3 + ["creative_writing"] * 2
    assert read_answers(new.answers(HARD))["h0"] == f"{HARD} on h0"
    assert read_questions(old.questions(), V01)[1] == Question("q1", "old 1", "arena-hard-v0.1")
    assert read_answers(old.answers("gpt-4-0314"))["q2"] == "base q2"


def test_judge_prompts_are_read_from_the_python_file_without_running_it(tree):
    (tree / "utils" / "judge_utils.py").open("a").write("\nraise SystemExit(1)\n")
    prompts = read_prompts(tree, V2)
    assert prompts.system == {"hard_prompt": "Judge this. Answer first.", "creative_writing": "Judge\nthis."}
    assert prompts.template == TEMPLATE


def test_braces_in_answers_stay_as_they_are(tree):
    messages = read_prompts(tree, V2).messages("hard_prompt", "{ANSWER_A} {x}", "{QUESTION}", "{}")
    assert messages[0] == {"role": "system", "content": "Judge this. Answer first."}
    assert messages[1]["content"] == "Q: {ANSWER_A} {x} | A: {QUESTION} | B: {}"


def test_the_old_config_and_the_single_file_are_read_too(tmp_path):
    old = tmp_path / "old" / "config" / "judge_config.yaml"
    old.parent.mkdir(parents=True)
    template = TEMPLATE.format(QUESTION="{question_1}", ANSWER_A="{answer_1}", ANSWER_B="{answer_2}")
    old.write_text(json.dumps({"system_prompt": "S", "prompt_template": [template]}))
    single = tmp_path / "single" / "judge_prompts.json"
    single.parent.mkdir()
    settings = {"judge_settings": {V01.headline: {"system_prompt": "S"}}, "prompt_template": TEMPLATE}
    single.write_text(json.dumps(settings))
    for folder in (tmp_path / "old", tmp_path / "single"):
        prompts = read_prompts(folder, V01)
        assert (prompts.system, prompts.template) == ({V01.headline: "S"}, TEMPLATE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"judge_settings": {}, "prompt_template": TEMPLATE}, "no system prompt for category hard_prompt"),
        ({"judge_settings": {}, "prompt_template": "{QUESTION}"}, "must hold {QUESTION}, {ANSWER_A}, {ANSWER_B}"),
        ({}, "prompt_template is None"),
    ],
)
def test_prompts_that_lack_something_are_refused(settings, message, tmp_path):
    (tmp_path / "judge_prompts.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match=message.replace("{", r"\{")):
        read_prompts(tmp_path, V2)


def test_what_no_folder_holds_and_no_network_gives_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("ALIGNKIT_EVAL_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    for find in (Sources(V2).questions, Sources(V2).prompts, lambda: Sources(V2).answers(HARD)):
        with pytest.raises(InputError, match=r"--data.*ALIGNKIT_EVAL_DATA"):
            find()
    with pytest.raises(InputError, match="does not exist"):
        Sources(V2, str(tmp_path / "nothing")).questions()


def test_prompts_are_downloaded_once_from_the_fixed_commit(tree, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("alignkit.eval.arena_hard.sources.REPOSITORY", "file://" + str(tmp_path / "mirror"))
    monkeypatch.setattr("alignkit.eval.arena_hard.sources.COMMIT", "abc")
    (tmp_path / "mirror").mkdir()
    tree.rename(tmp_path / "mirror" / "abc")
    assert Sources(V2).prompts().template == TEMPLATE
    (tmp_path / "mirror" / "abc").rename(tmp_path / "gone")
    assert Sources(V2).prompts().template == TEMPLATE


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.key)
def test_written_official_files_are_read_back(version, tmp_path):
    question = Question("u1", "why?", version.headline)
    text = "# Yes\n**because**\n"
    answers = lines(tmp_path / "a.jsonl", [answer_row(version, question, "m", text, 7, count_style(text))])
    assert read_answers(answers) == {"u1": text}
    style = read_styles([answers])["m", "u1"]
    assert (style.tokens, style.headers, style.lists, style.bold) == (7, 1, 0, 1)
    games = [PlayedGame([{"role": "user", "content": "?"}], "[[A>B]]", "A>B"), None]
    judgments = lines(tmp_path / "j.jsonl", [judgment_row(version, question, "m", "gpt", games)])
    (stored,) = read_games([judgments], version)
    assert (stored.game.model, stored.game.question, stored.game.verdicts) == ("m", "u1", ("A>B", None))
    assert stored.baseline == (None if version is V01 else HARD)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"uid": "u", "prompt": ""}, "prompt is ''"),
        ({"uid": "u"}, "prompt is None"),
        ({"prompt": "p"}, "uid or question_id is missing"),
        ({"uid": "u", "prompt": "p", "category": "maths"}, "has no category 'maths'"),
    ],
)
def test_a_malformed_question_is_named(row, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_questions(lines(tmp_path / "q.jsonl", [row]), V2)


def test_an_answer_row_without_an_answer_is_named(tmp_path):
    with pytest.raises(InputError, match=r"row 0 \(from 0\): it holds no answer"):
        read_answers(lines(tmp_path / "a.jsonl", [{"uid": "u", "messages": []}]))


def test_without_its_vocabulary_lengths_are_counted_in_bytes_and_that_is_said(monkeypatch):
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    count, name = token_counter(V2)
    assert (count("12345"), count(""), "approximation" in name) == (2, 0, True)


def test_the_baseline_is_that_of_the_category():
    assert (V2.baseline("hard_prompt"), V2.baseline("creative_writing")) == (HARD, CREATIVE)
