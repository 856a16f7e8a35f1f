"""The length-controlled win rate: alignkit's fit beside the alpaca-eval package's own, on the same annotations, paired.

    python benchmarks/speed/alpaca_lc.py --data FOLDER      # holds AlpacaEval 2's annotations, reference and side data

FOLDER holds `annotations_<model>.jsonl.gz`, `reference_gpt4_1106_preview.jsonl.gz`, `df_gamed*.csv` and
`instruction_difficulty*.csv`. Each round fits the same model with both, in alternating order, from the annotations to the
figure; the ratio of a round is free of whatever else the machine was doing. Reading the files is not timed. Needs
setuptools < 82, without which the package cannot be imported. Prints the median ratio with a bootstrap interval and
writes JSON.
"""

import argparse
import json
import logging
import platform
import random
import statistics
import time
import warnings
from pathlib import Path

from alignkit.eval.alpaca_eval2.formats import read_annotations, read_reference
from alignkit.eval.alpaca_eval2.scoring import score_rows
from alignkit.eval.alpaca_eval2.side_data import load_side_data
from alignkit.eval.items import read_rows


def find(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def package_frame(path: Path, reference: list):
    """The annotations as the package's data frame, in the data set's order."""
    import pandas as pd

    by_place = {own.place: own for own in reference}
    rows = sorted(read_rows(path), key=lambda row: row["index"])
    return pd.DataFrame(
        [
            {
                "instruction": by_place[row["index"]].instruction,
                "output_1": by_place[row["index"]].output,
                "output_2": row["output_2"],
                "generator_1": "gpt4_1106_preview",
                "generator_2": "candidate",
                "annotator": "weighted_alpaca_eval_gpt4_turbo",
                "preference": row["preference"],
            }
            for row in rows
        ]
    )


def interval(values: list[float], draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    generator = random.Random(0)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=20, help="rounds per model (default: 20)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/speed/results/alpaca_lc.json"))
    args = parser.parse_args()

    from alpaca_eval.metrics import glm_winrate

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    gamed = find(args.data, "df_gamed*.csv")
    glm_winrate.hf_hub_download = lambda *arguments, **keywords: str(gamed)
    reference = read_reference(args.data / "reference_gpt4_1106_preview.jsonl.gz")
    places = {own.instruction: own.place for own in reference}
    side = load_side_data(places, str(gamed), str(find(args.data, "instruction_difficulty*.csv")))
    table, ratios = {}, []
    for path in sorted(args.data.glob("annotations_*.jsonl.gz")):
        name = path.name.removeprefix("annotations_").removesuffix(".jsonl.gz")
        models, one_line_each = read_annotations(path, reference)
        if one_line_each:
            continue
        rows, frame = models[None], package_frame(path, reference)

        def ours(rows=rows) -> float:
            return score_rows(rows, reference, side, 0).controlled.value

        def theirs(frame=frame) -> float:
            metrics = glm_winrate.get_length_controlled_winrate(frame.copy(), save_weights_dir=None)
            return metrics["length_controlled_winrate"]

        own, seconds = [], {"alignkit": [], "alpaca-eval": []}
        for number in range(args.rounds + 1):
            order = [("alignkit", ours), ("alpaca-eval", theirs)]
            values, taken = {}, {}
            for who, fit in order if number % 2 else reversed(order):
                start = time.process_time()
                values[who] = fit()
                taken[who] = time.process_time() - start
            if number:  # the first is the warm-up
                own.append(taken["alpaca-eval"] / taken["alignkit"])
                for who in seconds:
                    seconds[who].append(taken[who])
        ratios += own
        table[name] = {
            "ratio": statistics.median(own),
            "seconds": {who: statistics.median(taken) for who, taken in seconds.items()},
            "figures": values,
        }
        print(
            f"{name:<36} {table[name]['ratio']:6.1f} x   {values['alignkit']:.4f} beside {values['alpaca-eval']:.4f}"
        )
    low, high = interval(ratios)
    total = {"ratio": statistics.median(ratios), "ci_low": low, "ci_high": high, "rounds": args.rounds}
    print(f"alpaca-eval / alignkit, CPU time: {total['ratio']:.1f}  (95 % interval {low:.1f} to {high:.1f})")
    settings = {"processor": platform.machine(), "python": platform.python_version()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"settings": settings, "all": total, "models": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
