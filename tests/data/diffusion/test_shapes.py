"""The bundled shapes: deterministic, disjoint splits, captions that say what is drawn; and the rule that scores them."""

import numpy as np
import pytest
from PIL import Image

from alignkit.data.diffusion import IMAGE_DATASETS, held_out_captions, load_shapes
from alignkit.data.diffusion.scenes import (
    BACKGROUNDS,
    COLOURS,
    FAULTS,
    IMAGE_SIZE,
    SHAPES,
    Scene,
    all_scenes,
    draw,
    parse_caption,
)
from alignkit.errors import InputError
from alignkit.rewards.images import load_scorer
from alignkit.rewards.images.shapes import score_parts


@pytest.mark.parametrize("name", IMAGE_DATASETS)
def test_the_same_seed_draws_the_same_pictures_and_another_seed_others(name):
    column = load_shapes(name).column_names[1]
    first, again, other = load_shapes(name), load_shapes(name), load_shapes(name, seed=1)
    pictures = [[np.asarray(row[column]) for row in rows.select(range(8))] for rows in (first, again, other)]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_held_out_captions_occur_in_no_training_row():
    held_out = set(held_out_captions())
    for name in IMAGE_DATASETS:
        assert set(load_shapes(name, "test")["prompt"]) == held_out
        assert not held_out & set(load_shapes(name, "train")["prompt"])


def test_every_colour_and_every_shape_is_in_both_splits():
    for held_out in (False, True):
        scenes = all_scenes(held_out)
        assert {scene.colour for scene in scenes} == set(COLOURS)
        assert {scene.shape for scene in scenes} == set(SHAPES)
        assert {scene.background for scene in scenes} == set(BACKGROUNDS)


def test_a_caption_says_its_scene_whatever_words_stand_between():
    for scene in all_scenes(held_out=True):
        assert parse_caption(scene.caption) == scene
    assert parse_caption("A big Red circle, drawn on black.") == Scene("red", "circle", "black")


@pytest.mark.parametrize(
    ("caption", "named"), [("a circle on black", "no colour"), ("a red blue circle on black", "red and blue")]
)
def test_a_caption_that_names_no_scene_is_refused(caption, named):
    with pytest.raises(InputError, match=named):
        parse_caption(caption)


def test_unknown_data_sets_and_splits_are_refused():
    with pytest.raises(InputError, match="bundled/shapes_preference"):
        load_shapes("bundled/shape")
    with pytest.raises(InputError, match="validation"):
        load_shapes("bundled/shapes", "validation")


def test_the_chosen_picture_of_every_pair_scores_higher():
    rows = load_shapes("bundled/shapes_preference", "test")
    scorer = load_scorer("shapes")
    chosen = scorer.score(rows["prompt"], rows["image_chosen"])
    rejected = scorer.score(rows["prompt"], rows["image_rejected"])
    assert all(0 <= value <= 1 for value in [*chosen, *rejected])
    assert sum(own > other for own, other in zip(chosen, rejected, strict=True)) == len(rows)


def part_means(scenes, faults=(), caption_of=lambda scene: scene.caption):
    rng = np.random.default_rng(0)
    parts = [score_parts(caption_of(scene), Image.fromarray(draw(scene, rng, faults))) for scene in scenes]
    return {name: np.mean([own[name] for own in parts]) for name in parts[0]}


@pytest.mark.parametrize(
    ("fault", "part"),
    zip(FAULTS, ("colour", "size", "centre", "background"), strict=True),
)
def test_each_fault_costs_its_own_part_of_the_score(fault, part):
    scenes = all_scenes(held_out=False)[::3]
    good, faulty = part_means(scenes), part_means(scenes, (fault,))
    assert good[part] > 0.8
    assert faulty[part] < 0.5
    assert all(faulty[name] > 0.7 for name in good if name != part)


def test_another_shape_or_background_than_the_captions_is_seen():
    scenes = all_scenes(held_out=False)[::3]
    good = part_means(scenes)
    turned = part_means(
        scenes,
        caption_of=lambda own: Scene(own.colour, SHAPES[SHAPES.index(own.shape) - 1], own.background).caption,
    )
    assert good["shape"] > 0.95
    assert turned["shape"] < 0.5
    other = {"black": "grey", "grey": "white", "white": "black"}
    moved = part_means(scenes, caption_of=lambda own: Scene(own.colour, own.shape, other[own.background]).caption)
    assert moved["background"] < 0.1 < 0.9 < good["background"]


def test_a_picture_without_anything_coloured_has_the_background_alone():
    parts = score_parts("a red circle on black", Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), BACKGROUNDS["black"]))
    assert parts == {"colour": 0, "shape": 0, "size": 0, "centre": 0, "background": 1}


def test_the_score_hardly_depends_on_the_resolution():
    scene = all_scenes(held_out=True)[0]
    image = Image.fromarray(draw(scene, np.random.default_rng(0)))
    large = image.resize((8 * IMAGE_SIZE, 8 * IMAGE_SIZE), Image.Resampling.NEAREST)
    scorer = load_scorer("shapes")
    assert scorer.score([scene.caption] * 2, [image, large]) == pytest.approx(
        [scorer.score([scene.caption], [image])[0]] * 2
    )
