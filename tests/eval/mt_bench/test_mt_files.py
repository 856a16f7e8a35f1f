"""FastChat's files: questions, answers, prompts and judgments; where they are looked for; stored judgments scored."""

import json

import pytest
from mt_world import CATEGORIES, PROMPTS, lines, questions, write_answers, write_tree

from alignkit.cli import main
from alignkit.errors import InputError
from alignkit.eval.mt_bench.official_files import (
    answer_row,
    judgment_row,
    read_answers,
    read_judgments,
    read_questions,
    usual_category,
)
from alignkit.eval.mt_bench.prompts import read_prompts
from alignkit.eval.mt_bench.sources import Sources
from alignkit.eval.mt_bench.stored import score_judgments


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv("ALIGNKIT_EVAL_DATA", raising=False)


def test_the_hubs_copy_of_the_questions_is_read_too(tmp_path):
    rows = [
        {"prompt_id": 5 + place, "category": row["category"], "prompt": row["turns"], "reference": []}
        for place, row in enumerate(questions())
    ]
    found = read_questions(lines(tmp_path / "hub.jsonl", rows))
    assert [own.turns for own in found] == [row["turns"] for row in questions()]
    assert [own.question_id for own in found] == ["5", "6", "7", "8", "9"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"turns": ["a", "b", "c"]}, r"row 1 \(from 0\): turns is"),
        ({"turns": [""]}, "turns is"),
        ({"turns": "text"}, "turns is"),
        ({"category": None}, "category is None"),
        ({"question_id": None}, "question_id is None"),
        ({"question_id": 81}, "question 81 occurs twice"),
    ],
)
def test_malformed_questions_are_named(change, message, tmp_path):
    rows = questions()
    rows[1] |= change
    with pytest.raises(InputError, match=message):
        read_questions(lines(tmp_path / "q.jsonl", rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "other"}, "there is no prompt single-math-v1"),
        ({"system_prompt": 3}, "system_prompt of single-math-v1 is 3"),
        ({"prompt_template": "{question} {answer}"}, r"lacks the field \{ref_answer_1\}"),
    ],
)
def test_prompts_that_cannot_be_filled_are_refused(change, message, tmp_path):
    rows = [{"name": name, "system_prompt": own[0], "prompt_template": own[1]} for name, own in PROMPTS.items()]
    rows[1] |= change
    with pytest.raises(InputError, match=message):
        read_prompts(lines(tmp_path / "judge_prompts.jsonl", rows))


@pytest.mark.parametrize("place", ["", "fastchat/llm_judge", "fastchat/llm_judge/data"])
def test_files_are_found_in_a_clone_and_in_every_folder_of_it(place, tmp_path):
    tree = write_tree(tmp_path / "FastChat")
    sources = Sources(str(tree / place))
    assert sources.questions.name == "question.jsonl"
    assert sources.references is not None and sources.references.name == "gpt-4.jsonl"
    assert set(sources.prompts().texts) == set(PROMPTS)


def test_beside_a_file_of_questions_lies_what_goes_with_it(tmp_path):
    tree = write_tree(tmp_path / "FastChat")
    sources = Sources(str(tree / "fastchat/llm_judge/data/mt_bench/question.jsonl"))
    assert sources.references is not None and set(sources.prompts().texts) == set(PROMPTS)


def test_own_questions_are_not_held_against_the_repositorys_references(tmp_path):
    tree = write_tree(tmp_path / "FastChat", references=False)
    assert Sources(str(tree)).references is None


def test_what_cannot_be_had_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    for find in (lambda: Sources().questions, lambda: Sources().references, Sources().prompts):
        with pytest.raises(InputError, match=r"HF_HUB_OFFLINE.*--data.*ALIGNKIT_EVAL_DATA"):
            find()


def test_files_are_downloaded_once_from_the_fixed_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("alignkit.eval.mt_bench.sources.REPOSITORY", "file://" + str(tmp_path / "mirror"))
    monkeypatch.setattr("alignkit.eval.mt_bench.sources.COMMIT", "abc")
    write_tree(tmp_path / "mirror" / "abc")
    for _ in range(2):
        sources = Sources()
        assert len(read_questions(sources.questions)) == 5
        assert sources.references is not None and set(sources.prompts().texts) == set(PROMPTS)
        if (tmp_path / "mirror").exists():
            (tmp_path / "mirror").rename(tmp_path / "gone")


def test_an_answer_file_is_read_and_written_alike(tmp_path):
    answers = read_answers(write_answers(tmp_path / "a.jsonl"))
    assert answers["111"] == ["candidate one on 111", "candidate two on 111"]
    again = lines(tmp_path / "b.jsonl", [answer_row(name, "m", turns) for name, turns in answers.items()])
    assert read_answers(again) == answers
    assert json.loads(again.read_text().splitlines()[0])["question_id"] == 81


def test_the_official_numbers_say_the_category():
    assert {number: usual_category(str(number)) for number in CATEGORIES} == CATEGORIES
    assert [usual_category(name) for name in ("80", "81", "90", "160", "161", "x")] == [
        "",
        "writing",
        "writing",
        "humanities",
        "",
        "",
    ]


def judgments(path, scores, model="m", judge="gpt-4"):
    """A judgment file; `scores` are (question, turn, score)."""
    rows = [
        judgment_row(str(question), model, (judge, "single-v1"), "asked", "said", score, turn)
        for question, turn, score in scores
    ]
    return lines(path, rows)


def test_stored_judgments_are_scored_as_officially(tmp_path, capsys):
    weak = judgments(tmp_path / "weak.jsonl", [(81, 1, 3), (81, 2, 2), (111, 1, 1), (111, 2, -1)], "weak")
    good = judgments(tmp_path / "good.jsonl", [(81, 1, 9), (81, 2, 8.5), (111, 1, 7), (111, 2, 4)], "good")
    files = ["--judgments", str(weak), str(good)]
    assert main(["eval", "score", "mt_bench", *files, "--out", str(tmp_path / "out")]) == 0
    assert "first turn" in capsys.readouterr().out
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores) == ["good", "weak"]
    own = scores["weak"]
    assert (own["score"], own["first_turn"], own["second_turn"]) == (2.0, 2.0, 2.0)
    assert (own["n_ratings"], own["n_unread"], own["n_questions"]) == (3, 1, 2)
    assert own["ci_low"] <= own["score"] <= own["ci_high"]
    assert own["categories"]["math"]["score"] == {"value": 1.0, "ci_low": 1.0, "ci_high": 1.0, "n": 1}
    assert "second_turn" not in own["categories"]["math"]
    assert scores["good"]["categories"]["writing"]["second_turn"]["value"] == 8.5


def test_several_judges_are_kept_apart(tmp_path):
    one = judgments(tmp_path / "one.jsonl", [(81, 1, 3)], judge="gpt-4")
    two = judgments(tmp_path / "two.jsonl", [(81, 1, 9)], judge="other")
    with pytest.raises(InputError, match="several judges, gpt-4, other"):
        score_judgments([one, two])
    assert score_judgments([one, two], judge="other")["m"]["score"] == 9
    with pytest.raises(InputError, match="judge is 'nobody'"):
        score_judgments([one], judge="nobody")


def test_repeated_ratings_count_and_are_named(tmp_path):
    own = score_judgments([judgments(tmp_path / "j.jsonl", [(81, 1, 3), (81, 1, 9)])])["m"]
    assert own["score"] == 6 and own["n_duplicates"] == 1 and "rated again" in own["notes"][0]


def test_a_model_without_any_rating_has_no_score_and_stands_last(tmp_path):
    rows = [judgments(tmp_path / f"{name}.jsonl", [(81, 1, value)], name) for name, value in (("a", -1), ("b", 2))]
    scores = score_judgments(rows)
    assert list(scores) == ["b", "a"] and scores["a"]["score"] != scores["a"]["score"]


def test_questions_of_ones_own_bring_their_categories(tmp_path):
    rows = [{**row, "question_id": f"own{row['question_id']}"} for row in questions()]
    data = lines(tmp_path / "question.jsonl", rows)
    file = judgments(tmp_path / "j.jsonl", [("own111", 1, 5)])
    assert list(score_judgments([file], data=str(data))["m"]["categories"]) == ["math"]
    assert score_judgments([file])["m"]["categories"] == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": "7"}, r"row 0 \(from 0\): score is '7'"),
        ({"score": float("nan")}, "score is nan"),
        ({"turn": 3}, "turn is 3"),
        ({"model": ""}, "model is ''"),
        ({"judge": []}, r"judge is \[\]"),
        ({"question_id": None}, "question_id is None"),
    ],
)
def test_malformed_judgments_are_named(change, message, tmp_path):
    row = {**judgment_row("81", "m", ("gpt-4", "single-v1"), "asked", "said", 7, 1), **change}
    with pytest.raises(InputError, match=message):
        read_judgments(lines(tmp_path / "j.jsonl", [row]), {})
