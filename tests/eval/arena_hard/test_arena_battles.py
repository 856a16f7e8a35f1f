import dataclasses

import numpy as np
import pytest
from arena_world import random_games, random_styles

from alignkit.errors import InputError
from alignkit.eval.arena_hard.battles import Game, battles_of
from alignkit.eval.arena_hard.resampling import resample_shares, win_shares
from alignkit.eval.arena_hard.style import CONTROLS
from alignkit.eval.arena_hard.table import Scoring, score_battles
from alignkit.eval.arena_hard.versions import V01, V2


VERSIONS = [V01, V2]
SWAPPED = {"A>>B": "B>>A", "A>B": "B>A", "A=B": "A=B", "B>A": "A>B", "B>>A": "A>>B", None: None}


def plain(games, version):
    battles = battles_of(games, "base", version)
    return dict(zip(battles.models, win_shares(battles, battles.weight), strict=True))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.key)
def test_the_second_game_shows_the_candidate_first_and_a_strong_verdict_counts_three_times(version):
    games = [Game("m", "q0", ("B>>A", "B>A")), Game("m", "q1", ("A=B", "A=B"))]
    # 3 wins (game 0: B is the candidate), 1 loss (game 1: B is the baseline), 2 ties of weight 1.
    assert plain(games, version)["m"] == pytest.approx(100 * (3 + 2 * 0.5) / 6)


def test_a_null_game_is_dropped_alone_in_v01_and_with_its_question_in_v2():
    games = [Game("m", "q0", ("B>A", None)), Game("m", "q1", ("A>B", "B>A"))]
    old, new = battles_of(games, "base", V01), battles_of(games, "base", V2)
    assert (old.weight.sum(), old.null_games["m"], old.dropped["m"]) == (3, 1, 1)
    assert (new.weight.sum(), new.null_games["m"], new.dropped["m"]) == (2, 1, 2)
    assert plain(games, V01)["m"] == pytest.approx(100 / 3)
    assert plain(games, V2)["m"] == 0


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.key)
def test_swapping_candidate_and_baseline_maps_the_score_to_100_minus_it(version):
    games = random_games(np.random.default_rng(0), ["m"], 40, null=0.2)
    mirrored = [Game("m", game.question, tuple(SWAPPED[verdict] for verdict in game.verdicts)) for game in games]
    assert plain(games, version)["m"] + plain(mirrored, version)["m"] == pytest.approx(100)


@pytest.mark.parametrize("control", [None, *CONTROLS])
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.key)
def test_all_ties_score_50(version, control):
    rng = np.random.default_rng(0)
    games = [Game("m", f"q{place}", ("A=B", "A=B")) for place in range(30)]
    styles = random_styles(rng, ["m", "base"], 30)
    table = score_battles(battles_of(games, "base", version), version, Scoring(control, num_resamples=20), styles)
    row = table.rows["m"]
    assert (row.score, row.ci_low, row.ci_high) == pytest.approx((50, 50, 50))


def test_a_model_that_plays_against_itself_is_refused():
    with pytest.raises(InputError, match="both the baseline and a judged model"):
        battles_of([Game("base", "q0", ("A=B", "A=B"))], "base", V01)


@pytest.mark.parametrize("intervals", ["cluster", "official"])
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.key)
def test_resampled_scores_spread_around_the_score_and_depend_on_the_seed_alone(version, intervals):
    battles = battles_of(random_games(np.random.default_rng(1), ["m", "n"], 60), "base", version)
    samples = resample_shares(battles, version, intervals, 400, seed=3)
    assert np.array_equal(samples, resample_shares(battles, version, intervals, 400, seed=3))
    assert not np.array_equal(samples, resample_shares(battles, version, intervals, 400, seed=4))
    assert samples.mean(axis=0) == pytest.approx(win_shares(battles, battles.weight), abs=1.5)


def test_resampling_questions_gives_the_wider_interval_where_games_of_a_question_agree():
    rng = np.random.default_rng(2)
    games = [
        Game("m", f"q{place}", ("B>>A", "A>>B") if rng.random() < 0.5 else ("A>>B", "B>>A")) for place in range(100)
    ]
    battles = battles_of(games, "base", V2)
    widths = {
        intervals: np.ptp(np.quantile(resample_shares(battles, V2, intervals, 1000, 0), [0.05, 0.95], axis=0))
        for intervals in ("cluster", "official")
    }
    # Six equal rows of a question are one fact: the honest interval is sqrt(6) times as wide.
    assert widths["cluster"] == pytest.approx(np.sqrt(6) * widths["official"], rel=0.15)


@pytest.mark.parametrize("field", ["control", "optimizer", "intervals"])
def test_an_unknown_way_of_scoring_is_refused(field):
    with pytest.raises(InputError, match=field):
        dataclasses.replace(Scoring(), **{field: "nonsense"})
