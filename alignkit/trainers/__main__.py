"""`python -m alignkit.trainers METHOD --config FILE`: one training process, as `accelerate launch` starts it."""

import sys

from .launch import die_with_parent, main


if __name__ == "__main__":
    die_with_parent()
    sys.exit(main())
