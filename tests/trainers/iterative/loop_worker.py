"""One process of the kill tests: `python loop_worker.py KEY FIELDS_JSON LOG`; every judged batch is a line of LOG."""

import json
import logging
import os
import sys

from loop_runs import runner

from alignkit.judges import LengthJudge


class LoggedJudge(LengthJudge):
    """Prefers the shorter response, and writes down what it was asked before it answers."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def score_batch(self, prompts, responses):
        batch = [[prompt, response] for prompt, response in zip(prompts, responses, strict=True)]
        with open(self.path, "a") as stream:
            stream.write(json.dumps(batch) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        return super().score_batch(prompts, responses)


if __name__ == "__main__":
    key, fields, log = sys.argv[1:]
    logging.basicConfig(level=logging.INFO)
    print("ready", flush=True)
    runner(key, json.loads(fields), LoggedJudge(log)).run()
