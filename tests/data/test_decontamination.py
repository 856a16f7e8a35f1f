"""Decontamination: what counts as the same question, and that unlike questions do not."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignkit.data.decontamination import EvaluationIndex, Report, decontaminate, tokens
from alignkit.errors import InputError


QUESTION = "A train of 300 metres passes a bridge of $700$ metres in 50 seconds. How fast is the train, in m/s?"
INDEX = EvaluationIndex({"a": [("0", QUESTION), ("1", "Compute 2+2.")]}, n=4, min_overlap=0.5)

words = st.lists(st.sampled_from("one two three four five six seven 8 9 10".split()), min_size=1, max_size=30)


def test_normalisation_keeps_words_and_numbers_of_any_script():
    assert tokens("The VALUE  of $x_{12}$ is\\frac{1}{2}, é ２！") == [
        "the", "value", "of", "x", "12", "is", "frac", "1", "2", "é", "2",
    ]  # fmt: skip
    assert tokens("求所有的整数") == ["求所有的整数"]


def test_same_question_in_another_dress_is_exact_whatever_its_length():
    (match,) = INDEX.matches(
        "a train of 300 metres passes a bridge of 700 metres in 50 seconds how fast is the train in m s"
    )
    assert (match.suite, match.item, match.kind, match.overlap) == ("a", "0", "exact", 1.0)
    assert INDEX.matches("compute $2 + 2$")[0].kind == "exact"
    assert INDEX.matches("compute 2+2 and 3") == []


def test_overlap_is_the_share_of_the_items_ngrams():
    index = EvaluationIndex({"a": [("0", "a b c d e f g h")]}, n=4, min_overlap=0.2)  # five 4-grams
    (match,) = index.matches("x a b c d e y f g h")
    assert (match.kind, match.overlap, match.shared) == ("ngram", 0.4, "a b c d e")
    assert index.matches("a b c x d e f g h")[0].overlap == 0.4  # c d e f is broken; d e f g and e f g h are there
    (contained,) = index.matches("before a b c d e f g h and after")
    assert contained.kind == "ngram" and contained.overlap == 1.0
    assert EvaluationIndex({"a": [("0", "a b c d e f g h")]}, n=4, min_overlap=0.41).matches("a b c d e f") != []
    assert EvaluationIndex({"a": [("0", "a b c d e f g h")]}, n=4, min_overlap=0.61).matches("a b c d e f") == []


@given(words, words)
def test_a_question_always_matches_itself_and_overlap_is_a_share(first, second):
    index = EvaluationIndex({"s": [("0", " ".join(first))]}, n=3, min_overlap=0.01)
    assert index.matches(" ".join(first))[0].kind == "exact"
    for match in index.matches(" ".join(second)):
        assert 0 < match.overlap <= 1 and match.shared in " ".join(first) and match.shared in " ".join(second)


def test_report_counts_by_suite_and_lists_every_row():
    suites = {"a": [("0", QUESTION)], "b": [("7", QUESTION), ("8", "Unrelated things are asked here, of nobody.")]}
    clean, report = decontaminate(
        [QUESTION, "Something else entirely?", QUESTION + " Explain."], EvaluationIndex(suites)
    )
    assert clean == [False, True, False]
    content = report.to_dict()
    assert (content["rows"], content["contaminated_rows"]) == (3, 2)
    assert content["suites"]["b"] == {"items": 2, "exact": 1, "ngram": 1, "items_found": 1}
    assert [(row["row"], [m["suite"] for m in row["matches"]]) for row in content["found"]] == [
        (0, ["a", "b"]),
        (2, ["a", "b"]),
    ]
    assert "2 of 3 rows" in report.summary()


def test_report_is_written_as_json_and_markdown(tmp_path):
    report = Report.of(INDEX, "mine")
    for row in range(25):
        report.add(row, QUESTION, INDEX.matches(QUESTION))
    summary = report.write(tmp_path / "deep" / "report.json")
    assert summary.name == "report.md" and "- and 5 more rows, in the JSON file" in summary.read_text()
    assert sorted(path.name for path in summary.parent.iterdir()) == ["report.json", "report.md"]


@pytest.mark.parametrize("settings", [{"n": 0}, {"min_overlap": 0.0}, {"min_overlap": 1.1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match="it must be in|has at least 1"):
        EvaluationIndex({}, **settings)


@pytest.mark.skipif(not os.environ.get("ALIGNKIT_EVAL_DATA"), reason="ALIGNKIT_EVAL_DATA names no folder")
def test_defaults_tell_suites_apart_and_find_a_changed_question():
    from alignkit.eval.items import load_items
    from alignkit.eval.suites import load_suite

    names = ("aime24", "aime25", "amc23", "math500", "olympiadbench")
    suites = {
        name: [(item.item_id, item.prompt[-1]["content"]) for item in load_items(load_suite(name), "bare")[0]]
        for name in names
    }
    found = total = 0
    for name in names:
        others = EvaluationIndex({other: items for other, items in suites.items() if other != name})
        own = EvaluationIndex({name: suites[name]})
        for item_id, question in suites[name]:
            assert others.matches(question) == []
            changed = tokens(question)
            changed[len(changed) // 2] = "otherwise"
            found += any(match.item == item_id for match in own.matches(" ".join(changed)))
            total += 1
    assert found / total > 0.85  # one word changed where it breaks most n-grams
