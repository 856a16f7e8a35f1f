"""Runs the alpaca-eval package on one model: started as a program of its own by `official.py`, never imported.

    python official_worker.py SETTINGS.json

The package's cache, annotations, leaderboard and weights go where the settings say, none into the installed package.
"""

import json
import sys
import warnings
from pathlib import Path


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    warnings.filterwarnings("ignore")

    import alpaca_eval
    from alpaca_eval.metrics import glm_winrate

    metric, metric_kwargs = "get_winrate", {}
    if settings["gamed"] is not None:
        # The package would fetch this file from the Hub; the rest of its code is untouched.
        glm_winrate.hf_hub_download = lambda *arguments, **keywords: settings["gamed"]
        metric, metric_kwargs = "get_length_controlled_winrate", {"save_weights_dir": settings["weights_dir"]}
    leaderboard, _ = alpaca_eval.evaluate(
        model_outputs=settings["model_outputs"],
        reference_outputs=settings["reference_outputs"],
        annotators_config=settings["annotators_config"],
        name=settings["name"],
        output_path=settings["output_path"],
        precomputed_leaderboard=None,
        is_overwrite_leaderboard=True,
        is_return_instead_of_print=True,
        is_cache_leaderboard=False,
        fn_metric=metric,
        metric_kwargs=metric_kwargs,
        sort_by="win_rate",
        caching_path=settings["caching_path"],
    )
    row = leaderboard.loc[settings["name"]].to_dict()
    metrics = {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}
    Path(settings["metrics"]).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
