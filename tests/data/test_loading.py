"""Loading by name: every kind of source gives the same rows, and splits, slices and mixtures are those of TRL."""

import gzip
import json
import os

import pytest

from alignkit.data import COLUMNS, DATASETS, column_specs, load, load_for_run, load_mixture, validate_rows
from alignkit.errors import InputError


def rows_of(dataset) -> list[dict]:
    return [dict(row) for row in dataset]


@pytest.mark.parametrize(
    "kind", ["jsonl", "json-array", "json-lines", "gz", "bom", "crlf", "parquet", "saved", "folder"]
)
def test_every_kind_of_local_source_gives_the_same_rows(kind, pair_rows, write_jsonl, tmp_path):
    path = write_jsonl(pair_rows)
    if kind == "json-array":
        path = str(tmp_path / "pairs.json")
        (tmp_path / "pairs.json").write_text(json.dumps(pair_rows, indent=2))
    elif kind == "json-lines":
        path = write_jsonl(pair_rows, "pairs.json")
    elif kind == "gz":
        with gzip.open(path + ".gz", "wt") as file:
            file.write(open(path).read())
        path += ".gz"
    elif kind == "bom":
        (tmp_path / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + open(path, "rb").read())
        path = str(tmp_path / "bom.jsonl")
    elif kind == "crlf":
        (tmp_path / "crlf.jsonl").write_bytes(open(path, "rb").read().replace(b"\n", b"\r\n") + b"\r\n")
        path = str(tmp_path / "crlf.jsonl")
    elif kind == "parquet":
        load(path, "train").to_parquet(tmp_path / "pairs.parquet")
        path = str(tmp_path / "pairs.parquet")
    elif kind == "saved":
        load(path, "train").save_to_disk(tmp_path / "saved")
        path = str(tmp_path / "saved")
    elif kind == "folder":
        write_jsonl(pair_rows[:3], "folder/a.jsonl")
        path = os.path.dirname(write_jsonl(pair_rows[3:], "folder/b.jsonl"))
    assert rows_of(load(path, "train")) == pair_rows


def test_without_a_split_a_dict_of_splits_is_returned_as_by_load_dataset(pair_rows, write_jsonl):
    write_jsonl(pair_rows[:3], "folder/train-00.jsonl")
    folder = os.path.dirname(write_jsonl(pair_rows[3:], "folder/test.jsonl"))
    dataset = load(folder)
    assert {name: len(part) for name, part in dataset.items()} == {"train": 3, "test": 2}


@pytest.mark.parametrize(
    ("split", "numbers"),
    [("train[:2]", [0, 1]), ("train[60%:]", [3, 4]), ("train[1:2]+train[4:]", [1, 4]), ("train", [0, 1, 2, 3, 4])],
)
def test_a_split_is_sliced_as_by_load_dataset(split, numbers, pair_rows, write_jsonl):
    margins = load(write_jsonl(pair_rows), split)["reward_margin"]
    assert list(margins) == [number - 1.5 for number in numbers]


def test_an_edited_file_is_read_again(pair_rows, write_jsonl):
    assert len(load(write_jsonl(pair_rows), "train")) == 5
    assert len(load(write_jsonl(pair_rows[:2]), "train")) == 2


def test_a_key_that_only_later_rows_have_is_kept(pair_rows, write_jsonl):
    pair_rows[3]["note"] = "late"
    assert list(load(write_jsonl(pair_rows), "train")["note"]) == [None, None, None, "late", None]


def test_whole_numbers_and_fractions_make_one_column(write_jsonl):
    rows = [{"x": 1}] * 1500 + [{"x": 0.5}]
    assert load(write_jsonl(rows), "train")["x"][-1] == 0.5


def test_csv_reads_numbers_lists_and_text_as_what_they_are(tmp_path):
    (tmp_path / "a.csv").write_text(
        'prompt,chosen,rejected,reward_margin,chosen_margin_rewards\n1+1?,2,3,0.5,"[1, 2]"\n"two\nlines",4,5,1,"[3, 4]"\n'
    )
    assert rows_of(load(str(tmp_path / "a.csv"), "train")) == [
        {"prompt": "1+1?", "chosen": "2", "rejected": "3", "reward_margin": 0.5, "chosen_margin_rewards": [1, 2]},
        {
            "prompt": "two\nlines",
            "chosen": "4",
            "rejected": "5",
            "reward_margin": 1.0,
            "chosen_margin_rewards": [3, 4],
        },
    ]


def test_streaming_gives_the_same_rows(pair_rows, write_jsonl):
    streamed = load(write_jsonl(pair_rows), "train", streaming=True)
    assert not hasattr(streamed, "__len__")
    assert list(streamed) == pair_rows


def test_columns_are_selected_and_a_missing_one_is_named_with_the_nearest(pair_rows, write_jsonl):
    path = write_jsonl(pair_rows)
    assert load(path, "train", columns=["chosen"]).column_names == ["chosen"]
    with pytest.raises(InputError, match="`reward_margins` is missing; did you mean to rename `reward_margin`"):
        load(path, "train", columns=["reward_margins"])


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("nobody/no-such-data", "train", "no local file or folder, and loading it from the Hub failed"),
        ("bundled/preferense", None, "there is no bundled data set"),
        ("./nowhere.jsonl", None, "no such file or folder"),
        ("pairs", "test", "no split 'test'; present: train"),
        ("pairs", "train[:x]", "split 'train\\[:x\\]' is not valid"),
    ],
)
def test_a_name_or_split_that_is_not_there_is_named(name, split, message, pair_rows, write_jsonl, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    name = write_jsonl(pair_rows) if name == "pairs" else name
    with pytest.raises(InputError, match=message):
        load(name, split)


def test_every_bundled_data_set_loads_by_name_and_is_valid():
    for name in DATASETS:
        dataset = load(name, "train[:20]")
        validate_rows(dataset, column_specs(set(dataset.column_names) & set(COLUMNS), Two), source=name)


class Two:
    weights = [0.5, 0.5]


def test_a_hub_name_like_a_bundled_one_is_hinted_at(monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="Did you mean bundled/preference"):
        load("preferences", "train")


def test_a_mixture_of_local_sources_follows_the_fractions_of_trl(pair_rows, write_jsonl):
    first, second = write_jsonl(pair_rows, "first.jsonl"), write_jsonl(pair_rows * 4, "second.jsonl")
    mixture = load_mixture([{"path": first, "fraction": 1}, {"path": second, "fraction": 2, "split": "train[:12]"}])
    # 1/3 and 2/3 without taking a row twice: 5 of the first caps the mixture at 15, the second gives 10 of its 12.
    assert len(mixture["train"]) == 15
    assert rows_of(mixture["train"])[:5] == pair_rows


def test_the_test_split_of_a_mixture_depends_on_the_seed_alone(pair_rows, write_jsonl):
    from trl import DatasetMixtureConfig

    mixture = DatasetMixtureConfig(datasets=[{"path": write_jsonl(pair_rows)}], test_split_size=0.4)
    margins = [list(load_mixture(mixture, seed)["test"]["reward_margin"]) for seed in (1, 1, 5)]
    assert len(margins[0]) == 2 and margins[0] == margins[1] != margins[2]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"path": "PAIRS", "splt": "train"}, "unknown key `splt`"),
        ({"name": "x"}, "at least `path`"),
        ({"path": "PAIRS", "split": "dev"}, "no split 'dev'"),
        ({"path": "PAIRS", "columns": ["promt"]}, "did you mean to rename `prompt`"),
        ({"path": "PAIRS", "data_dir": "x"}, "`data_dir` is only for data sets of the Hub"),
        ({"path": "PAIRS", "fraction": 0.5}, "`fraction` must be set for either all"),
    ],
)
def test_a_bad_mixture_entry_is_named(entry, message, pair_rows, write_jsonl):
    path = write_jsonl(pair_rows)
    entry = {key: path if value == "PAIRS" else value for key, value in entry.items()}
    with pytest.raises(InputError, match=message):
        load_mixture([{"path": path}, entry])


def test_a_run_loads_its_train_and_test_split_and_names_its_source(pair_rows, write_jsonl):
    from trl import DatasetMixtureConfig, ScriptArguments

    write_jsonl(pair_rows[:3], "folder/train.jsonl")
    folder = os.path.dirname(write_jsonl(pair_rows[3:], "folder/test.jsonl"))
    train, test, source = load_for_run(ScriptArguments(dataset_name=folder), DatasetMixtureConfig(), evaluate=True)
    assert (len(train), len(test), source) == (3, 2, folder)
    with pytest.raises(InputError, match="no data set is named"):
        load_for_run(ScriptArguments(), DatasetMixtureConfig())
