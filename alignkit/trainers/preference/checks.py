"""What the preference trainers refuse before any weight is loaded."""

from collections.abc import Iterable

from ...data.validation import check_numeric_column


def check_pairs(train_dataset, eval_dataset, columns: Iterable[str], args) -> None:
    """Raise `InputError` naming data set, row and column unless every extra column is there and holds finite numbers.

    List-valued columns (`*_margin_rewards`) must hold one number per weight after the first.
    """
    length = len(args.weights) - 1 if getattr(args, "weights", None) else None
    datasets = {"train_dataset": train_dataset}
    datasets.update(eval_dataset if isinstance(eval_dataset, dict) else {"eval_dataset": eval_dataset})
    for source, dataset in datasets.items():
        if dataset is not None:
            for name in columns:
                is_list = name.endswith("_margin_rewards")
                check_numeric_column(dataset, name, source=source, length=length if is_list else None)
