"""`python -m alignkit.trainers.iterative METHOD --config FILE`: one of several processes that train an iteration."""

import sys

from ..entry import run_entry
from ..launch import die_with_parent
from .distributed import work


if __name__ == "__main__":
    die_with_parent()
    sys.exit(run_entry(None, work))
