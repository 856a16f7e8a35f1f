"""`--suite image_reward --scorer NAME`: diffusers pipelines and LoRAs, scored on held-out captions, paired by caption and seed.

`planning.py` makes the plan, `drawing.py` the images (stage "generate"), `scoring.py` the scores ("grade") and `results.py`
the figures ("score"). In the output folder, beside what every suite has:

    images/<run>/<item>-<sample>.png    the images; generations/<run>.jsonl has a record of each
    grades/<run>-<scorer>.jsonl         their scores, append-only
"""
