"""AlpacaEval 2: the weighted judge call, win rates, and the length-controlled win rate, keyed by instruction.

`judge_call.py` asks and reads; `figures.py` has the win rates; `length_control.py` the length-controlled one, on
`l1_logistic.py`; `side_data.py` finds the published data it needs and names every fallback; `leaderboard.py` and
`package_files.py` read the installed `alpaca-eval` package's files without importing it; `benchmark.py` plugs it all into
the judge stage, `stored.py` scores what is stored, `official.py` runs the package itself in a process of its own.
"""
