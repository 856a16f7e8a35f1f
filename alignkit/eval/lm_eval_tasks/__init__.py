"""`--suite lm_eval:ifeval,mmlu`: tasks of EleutherAI's lm-eval on the same models, in the same report.

`running.py` runs them (stage "generate"), `results.py` reads what they wrote (stage "score"). lm-eval is an extra:
`pip install "alignkit[lm-eval]"`.
"""
