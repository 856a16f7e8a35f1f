"""Direct advantage (arXiv 2412.18279): sample, Monte-Carlo values of every step's state, a critic, then the policy.

Not ByteDance's DAPO. `runner.py` owns files and resume; `states.py`, `values.py`, `critic.py` and `advantages.py` hold
the stages, `actor.py` the trainer of the policy, `splitting.py` where a step ends.
"""
