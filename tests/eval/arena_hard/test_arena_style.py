import re
import time

import numpy as np
import pytest
from arena_world import random_games, random_styles
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from alignkit.errors import InputError
from alignkit.eval.arena_hard.battles import battles_of
from alignkit.eval.arena_hard.bradley_terry import converged, official_v01, official_v2
from alignkit.eval.arena_hard.style import CONTROLS, Style, count_style, covariates
from alignkit.eval.arena_hard.table import Scoring, score_battles
from alignkit.eval.arena_hard.versions import V01, V2


OFFICIAL = {
    "ordered": re.compile(r"^\s*\d+\.\s", re.MULTILINE),
    "unordered": re.compile(r"^\s*[-*+]\s", re.MULTILINE),
}
MARKDOWN = st.lists(st.sampled_from(["\n", " ", "\t", "\r", "\x0b", "\u2028", "1.", "23.", "-", "*", "+", "x", "##"]))


@given(MARKDOWN.map("".join))
def test_list_items_are_counted_as_by_the_official_patterns(text):
    counts = count_style(text)["list_count"]
    assert counts == {kind: len(pattern.findall(text)) for kind, pattern in OFFICIAL.items()}


def test_markdown_outside_code_is_counted_by_kind():
    text = (
        "# Title\n\n### Part\n1. one\n2. two\n  - sub\n* star\n**bold** and __this__ **too**\n```py\n# no\n- no\n```\n"
    )
    counts = count_style(text)
    assert counts["header_count"] == {"h1": 1, "h2": 0, "h3": 1, "h4": 0, "h5": 0, "h6": 0}
    assert counts["list_count"] == {"ordered": 2, "unordered": 2}
    assert counts["bold_count"] == {"**": 2, "__": 1}


@pytest.mark.parametrize("text", ["\n" * 200_000, "**" * 100_000, "```" * 70_000, "# " * 100_000, "__a" * 70_000])
def test_pathological_answers_are_counted_in_linear_time(text):
    started = time.process_time()
    count_style(text)
    assert time.process_time() - started < 2


def world(version, seed=0, models=("m", "n"), questions=60):
    rng = np.random.default_rng(seed)
    battles = battles_of(random_games(rng, list(models), questions), "base", version)
    return battles, random_styles(rng, [*models, "base"], questions)


@pytest.mark.parametrize("version", [V01, V2], ids=lambda version: version.key)
def test_covariates_are_standardised_over_battles_with_strong_verdicts_counted_three_times(version):
    battles, styles = world(version)
    x = covariates(battles, styles, version, "style")
    rows = np.repeat(x, battles.weight.astype(int), axis=0)
    assert rows.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-12)
    assert rows.std(axis=0, ddof=0 if version is V01 else 1) == pytest.approx(np.ones(4))


def test_the_length_difference_of_v2_is_relative_to_both_lengths():
    battles, styles = world(V2, models=("m",), questions=3)
    for place, (own, base) in enumerate(((300, 100), (100, 100), (100, 300))):
        styles["m", f"q{place}"], styles["base", f"q{place}"] = Style(own, 0, 0, 0), Style(base, 0, 0, 0)
    x = covariates(battles, styles, V2, "length")[:, 0]
    first, middle, last = (x[battles.question == place][0] for place in range(3))
    assert (first - middle) == pytest.approx(middle - last)
    assert first > last


def test_style_of_the_same_kind_everywhere_leaves_the_score_of_v2_as_it_is():
    battles, styles = world(V2)
    same = dict.fromkeys(styles, Style(100, 2, 3, 4))
    table = score_battles(battles, V2, Scoring("style", num_resamples=5), same)
    plain = score_battles(battles, V2, Scoring(num_resamples=5))
    for model in battles.models:
        assert table.rows[model].score == pytest.approx(plain.rows[model].score, abs=1e-6)
    assert list(table.slopes.values()) == pytest.approx([0, 0, 0, 0])


def test_a_missing_style_is_named():
    battles, styles = world(V2)
    del styles["base", "q7"]
    with pytest.raises(InputError, match="base to question q7"):
        covariates(battles, styles, V2, "style")


@pytest.mark.parametrize("control", CONTROLS)
def test_the_fit_of_v01_is_the_optimum_that_scikit_learn_stops_near(control):
    battles, styles = world(V01)
    x = covariates(battles, styles, V01, control)
    ours, official = converged(battles, x, V01, battles.weight), official_v01(battles, x, battles.weight)
    assert 100 * expit(ours.strength) == pytest.approx(100 * expit(official.strength), abs=0.05)


def test_the_fit_of_v2_recovers_strengths_and_slopes_and_the_official_optimizer_comes_near_it():
    rng = np.random.default_rng(5)
    battles, styles = world(V2, questions=3000)
    x = covariates(battles, styles, V2, "style")
    strength, slope = np.array([0.8, -0.5]), np.array([0.6, -0.3, 0.2, 0.0])
    share = (rng.random(len(x)) < expit(strength[battles.model] + x @ slope)).astype(float)
    drawn = type(battles)(**{**vars(battles), "share": share})
    ours = converged(drawn, x, V2, drawn.weight)
    assert ours.strength == pytest.approx(strength, abs=0.12)
    assert ours.slope == pytest.approx(slope, abs=0.12)
    official = official_v2(drawn, x, drawn.weight)
    assert 100 * expit(official.strength) == pytest.approx(100 * expit(ours.strength), abs=1.5)


@pytest.mark.parametrize("version", [V01, V2], ids=lambda version: version.key)
def test_a_model_that_wins_everything_has_a_finite_fit_near_100(version):
    battles, styles = world(version)
    share = np.where(battles.model == 0, 1.0, battles.share)
    battles = type(battles)(**{**vars(battles), "share": share})
    fit = converged(battles, covariates(battles, styles, version, "style"), version, battles.weight)
    assert np.isfinite(fit.strength).all()
    # v0.1's penalty holds it back, as in the official code; v2.0 has none.
    assert 100 * expit(fit.strength[0]) == pytest.approx(100, abs=6 if version is V01 else 1e-4)
