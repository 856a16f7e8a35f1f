"""Train in iterations: sample from the policy, judge, build pairs, train, repeat from the result.

    python trainers/loop.py --method sppo --config configs/iterative/sppo-loop.yaml
    python trainers/loop.py --method dno --config my-loop.yaml --num_iterations 6 --use_vllm

The same command again goes on where the last one stopped. Every field of the loop's config is a flag and a YAML key;
`alignkit loop sppo --help` lists them. `alignkit loop` is the same.
"""

import argparse
import sys

from alignkit.trainers.iterative.launch import main


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, add_help=False, allow_abbrev=False)
    parser.add_argument("--method", required=True)
    args, rest = parser.parse_known_args()
    sys.exit(main([args.method, *rest]))
