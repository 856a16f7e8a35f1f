"""Loading by name: bundled data, a local file or folder, a data set of the Hub, a mixture of them."""

import difflib
import logging
import os
from pathlib import Path
from typing import Any

from ..errors import InputError
from .bundled import DATASETS, PREFIX, dataset_path
from .files import FILE_SUFFIXES, is_data_file, load_file
from .rows import MAX_ROW_BYTES
from .validation import missing_column


logger = logging.getLogger(__name__)

# Beginnings of file names that say which split a file of a folder belongs to, as in `datasets`; any other is "train".
_SPLIT_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing", "eval", "evaluation"),
    "validation": ("validation", "valid", "val", "dev"),
}


def load(
    name: str,
    split: str | None = None,
    *,
    config_name: str | None = None,
    streaming: bool = False,
    columns: list[str] | None = None,
    max_row_bytes: int = MAX_ROW_BYTES,
):
    """Load a data set by name, as `datasets.load_dataset` would return it.

    Args:
        name: `"bundled/..."`; a local file (.jsonl, .json, .csv, also with .gz, or .parquet); a local folder of such
            files or one written by `save_to_disk`; any other name is looked up on the Hugging Face Hub.
        split: a split, also sliced as in `"train[:100]"` or `"train[:90%]"`; None returns a dict of all splits. A
            single file and bundled data are the split `"train"`.
        config_name: configuration of a Hub data set.
        streaming: read rows as they are needed.
        columns: keep only these columns.
        max_row_bytes: longest row of a local text file.

    Raises:
        InputError: naming what was tried, or file and line of what is wrong.
    """
    path = _local_path(name)
    if path is None:
        dataset = _load_hub(name, split, config_name, streaming)
    else:
        if config_name is not None:
            raise InputError(f"{name}: `config_name` is {config_name!r}, but only Hub data sets have configurations.")
        dataset = take_split(_load_local(path, streaming, max_row_bytes), split, name)
    return dataset if columns is None else _select(dataset, columns, name)


def load_mixture(mixture, seed: int = 42):
    """Load a TRL data set mixture; entries may also name bundled data, local files and folders.

    Args:
        mixture: TRL's `DatasetMixtureConfig`, or a list of dicts with the fields of its `DatasetConfig` (path, name,
            data_dir, data_files, split, columns, fraction).
        seed: of the train/test split that `test_split_size` asks for. TRL draws that split from the global generator,
            so that a resumed run or another process would get another one.

    Returns:
        `DatasetDict` with `"train"`, and `"test"` where `test_split_size` is set.

    Raises:
        InputError: naming the entry and what is wrong with it.
    """
    from dataclasses import replace

    from trl import DatasetMixtureConfig, get_dataset

    if not isinstance(mixture, DatasetMixtureConfig):
        mixture = DatasetMixtureConfig(datasets=[_mixture_entry(index, item) for index, item in enumerate(mixture)])
    if not mixture.datasets:
        raise InputError("the mixture names no data set; give at least one entry with a `path`.")
    entries = [_as_loadable(index, entry, mixture.streaming) for index, entry in enumerate(mixture.datasets)]
    try:
        dataset = get_dataset(replace(mixture, datasets=entries, test_split_size=None))
    except InputError:
        raise
    except Exception as error:  # whatever `datasets` raises for a name, a split, columns or features that do not fit
        names = ", ".join(entry.path for entry in mixture.datasets)
        raise InputError(f"the mixture of {names} cannot be loaded: {_one_line(error)}.") from error
    if mixture.test_split_size is None:
        return dataset
    if mixture.streaming:
        raise InputError("`test_split_size` needs the whole data set; leave it out, or set `streaming` to false.")
    try:
        return dataset["train"].train_test_split(test_size=mixture.test_split_size, seed=seed)
    except ValueError as error:
        raise InputError(f"`test_split_size` is {mixture.test_split_size}: {_one_line(error)}.") from None


def load_for_run(script, mixture, seed: int = 42, evaluate: bool = False) -> tuple[Any, Any, str]:
    """Load what a training run needs: (train data set, evaluation data set or None, name for messages).

    Args:
        script: TRL's `ScriptArguments` (data set name, configuration, splits, streaming).
        mixture: TRL's `DatasetMixtureConfig`; where it names data sets it wins, as in TRL.
        seed: of the mixture's split.
        evaluate: whether the test split is needed.
    """
    if mixture.datasets:
        if script.dataset_name:
            logger.warning("both `datasets` and `dataset_name` are given; `dataset_name` is ignored")
        dataset = load_mixture(mixture, seed)
        if evaluate and "test" not in dataset:
            raise InputError(
                "evaluation needs a test split; set `test_split_size` of the mixture, or eval_strategy: no."
            )
        return dataset["train"], dataset["test"] if evaluate else None, "the mixture"
    if not script.dataset_name:
        raise InputError("no data set is named; set `dataset_name` (e.g. bundled/preference) or `datasets`.")

    def one(split: str):
        return load(script.dataset_name, split, config_name=script.dataset_config, streaming=script.dataset_streaming)

    train = one(script.dataset_train_split)
    return train, one(script.dataset_test_split) if evaluate else None, script.dataset_name


def _local_path(name: str) -> Path | None:
    """Path of a bundled or local data set; None for a name of the Hub."""
    if name.startswith(PREFIX) and not Path(name).exists():
        return dataset_path(name)
    path = Path(name).expanduser()
    if path.exists():
        return path
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or is_data_file(name)
    if looks_local:
        raise InputError(f"{name}: there is no such file or folder.")
    return None


def _load_local(path: Path, streaming: bool, max_row_bytes: int):
    from datasets import DatasetDict, IterableDatasetDict

    if path.is_dir():
        splits = _load_folder(path, streaming, max_row_bytes)
    else:
        splits = {"train": load_file(path, streaming, max_row_bytes)}
    return IterableDatasetDict(splits) if streaming else DatasetDict(splits)


def _load_folder(path: Path, streaming: bool, max_row_bytes: int) -> dict[str, Any]:
    from datasets import DatasetDict, concatenate_datasets, load_from_disk

    if any((path / marker).is_file() for marker in ("dataset_dict.json", "state.json")):
        try:
            saved = load_from_disk(str(path))
        except Exception as error:  # a damaged folder fails in Arrow, JSON or the file system
            raise InputError(f"{path}: the saved data set cannot be read ({_one_line(error)}).") from None
        splits = dict(saved) if isinstance(saved, DatasetDict) else {"train": saved}
        return {name: split.to_iterable_dataset() for name, split in splits.items()} if streaming else splits
    groups: dict[str, list[Path]] = {}
    for file in sorted(item for item in path.iterdir() if item.is_file() and is_data_file(item)):
        groups.setdefault(_split_of(file), []).append(file)
    if not groups:
        raise InputError(f"{path}: the folder holds no data; expected files ending in {', '.join(FILE_SUFFIXES)}.")
    splits = {}
    for split, files in groups.items():
        parts = [load_file(file, streaming, max_row_bytes) for file in files]
        try:
            splits[split] = concatenate_datasets(parts) if len(parts) > 1 else parts[0]
        except ValueError as error:
            names = ", ".join(file.name for file in files)
            raise InputError(f"{path}: the columns of {names} do not fit together ({_one_line(error)}).") from None
    return splits


def _split_of(file: Path) -> str:
    words = file.name.lower().split(".")[0].replace("_", "-").split("-")
    return next((split for split, names in _SPLIT_NAMES.items() if words[0] in names), "train")


def take_split(splits, split: str | None, name: str):
    if split is None:
        return splits
    base = split.split("[")[0]
    if base not in splits and "+" not in split:
        raise InputError(f"{name}: there is no split {base!r}; present: {', '.join(splits)}.")
    if base == split:
        return splits[split]
    from datasets import Dataset, ReadInstruction, concatenate_datasets

    if not all(isinstance(part, Dataset) for part in splits.values()):
        raise InputError(f"{name}: the split {split!r} cannot be sliced while streaming; name a whole split.")
    try:
        wanted = ReadInstruction.from_spec(split).to_absolute({key: len(part) for key, part in splits.items()})
    except (ValueError, AssertionError, KeyError) as error:
        raise InputError(f"{name}: the split {split!r} is not valid ({_one_line(error)}).") from None
    parts = [splits[item.splitname].select(range(item.from_, item.to)) for item in wanted]
    return concatenate_datasets(parts) if len(parts) > 1 else parts[0]


def _load_hub(name: str, split: str | None, config_name: str | None, streaming: bool):
    from datasets import load_dataset

    try:
        return load_dataset(name, config_name, split=split, streaming=streaming)
    except Exception as error:  # not found, gated, offline, a wrong split or configuration: many types, one meaning
        near = difflib.get_close_matches(f"{PREFIX}{name.split('/')[-1]}", DATASETS, n=1, cutoff=0.75)
        hint = f" Did you mean {near[0]}?" if near else f" Bundled: {', '.join(DATASETS)}."
        offline = " The Hub is switched off here (HF_HUB_OFFLINE)." if os.environ.get("HF_HUB_OFFLINE") == "1" else ""
        wanted = f"{name!r}" + (f", configuration {config_name!r}" if config_name else "")
        wanted += f", split {split!r}" if split else ""
        raise InputError(
            f"the data set {wanted} is no local file or folder, and loading it from the Hub failed: "
            f"{_one_line(error)}.{offline}{hint}"
        ) from error


def _select(dataset, columns: list[str], name: str):
    parts = dataset.values() if isinstance(dataset, dict) else [dataset]
    for part in parts:
        for column in columns:
            if part.column_names is not None and column not in part.column_names:
                raise missing_column(column, part.column_names, name)
    return dataset.select_columns(columns)


def _mixture_entry(index: int, item):
    from dataclasses import fields

    from trl.scripts.utils import DatasetConfig

    if isinstance(item, DatasetConfig):
        return item
    known = [field.name for field in fields(DatasetConfig)]
    if not isinstance(item, dict) or "path" not in item:
        raise InputError(f"entry {index} of the mixture is {item!r}; expected a mapping with at least `path`.")
    for key in item:
        if key not in known:
            raise InputError(f"entry {index} of the mixture has the unknown key `{key}`; known: {', '.join(known)}.")
    return DatasetConfig(**item)


def _as_loadable(index: int, entry, streaming: bool):
    """The entry as `datasets.load_dataset` can load it: local data, read and checked by us, as its Arrow files."""
    from dataclasses import replace

    path = _local_path(entry.path)
    if path is None:
        return entry
    for key in ("name", "data_dir", "data_files"):
        if getattr(entry, key) is not None:
            raise InputError(f"entry {index} of the mixture, {entry.path}: `{key}` is only for data sets of the Hub.")
    splits = _load_local(path, False, MAX_ROW_BYTES)
    part = take_split(splits, entry.split, entry.path)  # refuses a split that is not there
    if entry.columns is not None:
        _select(part, entry.columns, entry.path)
    files = {name: [file["filename"] for file in part.cache_files] for name, part in splits.items()}
    return replace(entry, path="arrow", data_files=files)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
