import pytest

from alignkit.eval.arena_hard.verdicts import MIRRORED, VERDICTS, parse_verdict
from alignkit.eval.arena_hard.versions import V01, V2


@pytest.mark.parametrize("version", [V01, V2], ids=lambda version: version.key)
@pytest.mark.parametrize("label", VERDICTS)
def test_each_of_the_five_labels_is_read(version, label):
    assert parse_verdict(f"Reasons. My final verdict is: [[{label}]].", version).verdict == label


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("[[A>B]] and again [[A>B]]", "A>B", "A>B"),
        ("first [[A>B]], no: [[B>>A]]", None, "B>>A"),
        ("[A>B]", None, "A>B"),
        ("[A>B] but finally [[A=B]]", "A=B", "A=B"),
        ("[B>A] then [A>>B]", None, "A>>B"),
        ("[[a>b]]", None, "A>B"),
        ("no verdict here", None, None),
        ("", None, None),
        ("[[A]]", None, None),
        ("[[A > B]]", None, None),
    ],
)
def test_conflicts_case_and_single_brackets_are_read_by_each_versions_rule(text, old, new):
    assert parse_verdict(text, V01).verdict == old
    assert parse_verdict(text, V2).verdict == new


@pytest.mark.parametrize(
    ("text", "reason"), [("nothing", "missing"), ("[[A>B]] [[B>A]]", "conflict"), ("[[B]]", "unknown")]
)
def test_a_null_verdict_says_why(text, reason):
    assert parse_verdict(text, V01).reason == reason


@pytest.mark.parametrize(("mirrored", "label"), MIRRORED.items())
def test_a_mirrored_label_counts_in_v2_and_is_null_in_v01(mirrored, label):
    assert parse_verdict(f"[[{mirrored}]]", V2).verdict == label
    assert parse_verdict(f"[[{mirrored}]]", V01).verdict is None
