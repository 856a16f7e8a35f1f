"""One process of the kill test of two-stage MPO: `python mpo_worker.py FIELDS_JSON`."""

import json
import logging
import sys

from mpo_runs import BriefReward, runner


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    print("ready", flush=True)
    runner(json.loads(sys.argv[1]), BriefReward()).run()
