"""Stage "judge" of the pairwise benchmarks: what a benchmark declares, and how its requests are sent and recorded.

`benchmark.py` is the contract: a benchmark says which games are played about an item (messages, orders), how a reply is
read and how verdicts become figures. `stage.py` plays the games that no record holds yet; `asking.py` is the
asynchronous part; `spec.py` finds out who judges.
"""
