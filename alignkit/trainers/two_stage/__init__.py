"""Two-stage MPO (arXiv 2403.19443): DPO on the pairs a reward model finds easy, then RL on the prompts of the hard ones.

Not TRL's MPO, which mixes three losses. `runner.py` owns files and resume; `stages.py` holds the three stages,
`selection.py` the split, `rl.py` the trainers of the second stage.
"""
