"""Image data from folders, files and Pick-a-Pic-shaped rows; what is wrong is named by row and field."""

import io
import json
import logging

import datasets
import numpy as np
import pytest
from PIL import Image

from alignkit.data.diffusion import WINNER_COLUMNS, check_images, load_images
from alignkit.errors import InputError


def picture(shade, size=(16, 16)):
    return Image.new("RGB", size, (shade, 0, 255 - shade))


def png(shade, size=(16, 16)):
    stream = io.BytesIO()
    picture(shade, size).save(stream, format="PNG")
    return stream.getvalue()


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def shades(dataset, column):
    return [np.asarray(image)[0, 0, 0] for image in dataset[column]]


@pytest.fixture
def folder(tmp_path):
    for shade in (10, 20, 30, 40):
        picture(shade).save(tmp_path / f"{shade}.png")
    return tmp_path


def test_a_folder_of_winners_with_metadata_is_read_as_imagefolder_has_it(folder):
    write_jsonl(
        folder / "metadata.jsonl", [{"file_name": f"{shade}.png", "text": f"shade {shade}"} for shade in (10, 30)]
    )
    rows = load_images(str(folder), columns=WINNER_COLUMNS)
    assert rows["prompt"] == ["shade 10", "shade 30"]
    assert shades(rows, "image") == [10, 30]


@pytest.mark.parametrize("suffix", ["", "_file_name"])
def test_a_file_of_preference_pairs_holds_paths_beside_it(folder, suffix):
    names = f"image_chosen{suffix}", f"image_rejected{suffix}"
    rows = [
        {"prompt": "a", names[0]: "10.png", names[1]: "20.png"},
        {"prompt": "b", names[0]: "30.png", names[1]: "40.png"},
    ]
    loaded = load_images(write_jsonl(folder / "pairs.jsonl", rows))
    assert shades(loaded, "image_chosen") == [10, 30]
    assert shades(loaded, "image_rejected") == [20, 40]
    check_images(loaded, ["image_chosen", "image_rejected"], resolution=16)


def pick_rows(labels):
    return datasets.Dataset.from_dict(
        {
            "caption": [f"caption {row}" for row in range(len(labels))],
            "jpg_0": [png(10 + row) for row in range(len(labels))],
            "jpg_1": [png(110 + row) for row in range(len(labels))],
            "label_0": labels,
            "unused": [0] * len(labels),
        }
    )


def test_rows_as_pick_a_pic_has_them_become_pairs_and_ties_are_dropped_and_counted(tmp_path, caplog):
    path = tmp_path / "pick.parquet"
    pick_rows([1.0, 0.5, 0.0, 0.5]).to_parquet(path)
    with caplog.at_level(logging.WARNING):
        rows = load_images(str(path))
    assert rows["prompt"] == ["caption 0", "caption 2"]
    assert shades(rows, "image_chosen") == [10, 112]
    assert shades(rows, "image_rejected") == [110, 12]
    assert "2 of 4 rows are ties" in caplog.text


def test_the_winners_of_preference_data_are_winner_only_data(tmp_path):
    path = tmp_path / "pick.parquet"
    pick_rows([0.0, 1.0]).to_parquet(path)
    rows = load_images(str(path), columns=WINNER_COLUMNS)
    assert shades(rows, "image") == [110, 11]
    assert len(load_images("bundled/shapes_preference", "test[:5]", WINNER_COLUMNS)) == 5


@pytest.mark.parametrize(
    ("labels", "named"), [([1.0, 0.3], "row 1.*label_0.*0.3"), ([0.5, 0.5], "all 2 rows are ties")]
)
def test_labels_that_decide_nothing_are_refused(tmp_path, labels, named):
    path = tmp_path / "pick.parquet"
    pick_rows(labels).to_parquet(path)
    with pytest.raises(InputError, match=named):
        load_images(str(path))


def test_an_image_file_that_is_not_there_is_named_by_line_and_field(folder):
    rows = [{"prompt": "a", "image": "10.png"}, {"prompt": "b", "image": "gone.png"}]
    path = write_jsonl(folder / "rows.jsonl", rows)
    with pytest.raises(
        InputError, match=r"rows.jsonl, line 2, field `image`: the image file 'gone.png' does not exist"
    ):
        load_images(path, columns=WINNER_COLUMNS)


def test_winners_alone_are_no_preference_data(folder):
    with pytest.raises(InputError, match="image_chosen"):
        load_images("bundled/shapes")


def winners(images, prompts=None):
    features = datasets.Features({"prompt": datasets.Value("string"), "image": datasets.Image()})
    prompts = prompts or ["a"] * len(images)
    rows = {"prompt": prompts, "image": [own and {"bytes": own, "path": None} for own in images]}
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.mark.parametrize(
    ("images", "prompts", "named"),
    [
        ([png(1), None], None, "row 1 .*`image`: the image is missing"),
        ([png(1), png(2)[:60]], None, "row 1 .*`image`: .* corrupt"),
        ([png(1), b"no picture"], None, "row 1 .*`image`: .* no image"),
        (
            [png(1), png(2, (12, 16))],
            None,
            "row 1 .*`image`: .* 12 x 16, smaller than the 16 x 16 .*`resolution` to 12",
        ),
        ([png(1, (16, 40))], None, "row 0 .*`image`: .* 16 x 40.*lose more than half"),
        ([png(1), png(2)], ["a", " "], "row 1 .*`prompt`: .*not empty"),
        ([png(1), None, None, png(2)], None, r"row 1 .*\(1 more row has a problem\)"),
    ],
)
def test_what_is_wrong_is_named_by_row_and_field(images, prompts, named):
    with pytest.raises(InputError, match=named):
        check_images(winners(images, prompts), ["image"], "data", resolution=16)


def test_a_row_behind_dropped_ties_is_named_as_in_the_source(tmp_path):
    rows = pick_rows([0.5, 1.0, 0.0])
    rows = datasets.Dataset.from_dict({**rows.to_dict(), "jpg_1": [png(1), png(2), b"broken"]})
    rows.to_parquet(tmp_path / "pick.parquet")
    loaded = load_images(str(tmp_path / "pick.parquet"))
    with pytest.raises(InputError, match=r"pick.parquet, row 2 .*`image_chosen`"):
        check_images(loaded, ["image_chosen", "image_rejected"])


def test_images_of_any_size_pass_where_no_resolution_is_asked():
    check_images(winners([png(1, (9, 40))]), ["image"])
