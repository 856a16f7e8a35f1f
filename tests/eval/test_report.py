"""The reports: complete, self-contained, and safe against what models write."""

import re
from html.parser import HTMLParser

import pytest
from scripted import number_in

from alignkit.cli import main
from alignkit.eval import evaluate


HOSTILE = "<script>alert(1)</script> $\\x$ | <img src=http://example.com/x.png> \\boxed{-5}"


@pytest.fixture
def folder(bench, shared_pool, tmp_path, data):
    bench.answers |= {
        "base": lambda content, seed: f"\\boxed{{{number_in(content) % 10}}}",
        "tuned/new": lambda content, seed: (
            HOSTILE
            if number_in(content) == 3
            else "going on ..."
            if number_in(content) == 5
            else f"{number_in(content)}"
        ),
    }
    evaluate(["tuned/new"], "tiny_math", tmp_path / "out", compare="base", data=data, num_resamples=500)
    return tmp_path / "out"


class Page(HTMLParser):
    """Collects tags and checks that they close in order."""

    VOID = {"meta", "br", "img", "use", "path", "rect"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_html_is_one_well_formed_file_that_loads_nothing(folder):
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert {"script", "link", "iframe", "img"}.isdisjoint(page.tags)
    for name, value in page.attributes:
        if name in ("href", "src", "xlink:href"):
            assert value.startswith("#")
    assert not re.search(r"url\((?!#)", text) and "@import" not in text
    assert page.tags.count("svg") == 3
    assert "width=device-width" in text and "prefers-color-scheme: dark" in text


def test_html_shows_outcomes_verdicts_and_what_was_cut_off(folder):
    text = (folder / "report.html").read_text()
    for piece in ("wrong → right", "right → wrong", "right: 1", "wrong: -5", "Cut-off completions", "+40.0", "18/20"):
        assert piece in text, piece
    assert "#010203" not in text and "var(--ink)" in text


def test_model_text_is_shown_not_run(folder):
    text = (folder / "report.html").read_text()
    assert "<script>" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_markdown_has_the_figures_and_the_fingerprints(folder):
    text = (folder / "report.md").read_text()
    assert "| base | 50.0 % |" in text and "| new | 90.0 % |" in text
    assert "| new | base | +40.0 |" in text
    assert "only the first" not in text.lower()
    assert text.count("run ") == 2 and "math-verify" in text


def test_warnings_say_what_makes_the_figures_mean_less(folder):
    text = (folder / "report.md").read_text()
    assert "new: 1 of 20 completions were cut off" in text
    assert "the suite has 400" in text


def test_report_of_one_model_without_comparison_is_complete(bench, shared_pool, tmp_path, data):
    bench.answers["only"] = lambda content, seed: "no idea"
    evaluate(["only"], "tiny_math", tmp_path / "out", data=data, num_resamples=500, limit=3)
    text = (tmp_path / "out" / "report.html").read_text()
    assert Page(text).open == [] and "What changed" not in text
    assert "no answer was found in 3 of 3" in text and "Only the first 3 of 400 items" in text


def test_report_can_be_made_again_with_the_same_bytes(folder):
    before = [(folder / name).read_bytes() for name in ("report.html", "report.md")]
    assert main(["eval", "report", "--out", str(folder)]) == 0
    assert [(folder / name).read_bytes() for name in ("report.html", "report.md")] == before
