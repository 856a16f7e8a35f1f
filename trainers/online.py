"""Train with any method that generates while it trains (grpo, gdpo, mhpo, ppo ...).

    accelerate launch trainers/online.py --method mhpo --config configs/online/mhpo.yaml
    accelerate launch --num_processes 4 trainers/online.py --method online --config my.yaml --policy_loss sapo

Every field of the method's config, of TRL's `ModelConfig`, `ScriptArguments` and `DatasetMixtureConfig` is a flag and a
YAML key; `alignkit train mhpo --help` lists them. `alignkit train` is the same with a pre-flight check first.
"""

import argparse
import sys

from alignkit.cli.training import main


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, add_help=False, allow_abbrev=False)
    parser.add_argument("--method", required=True)
    args, rest = parser.parse_known_args()
    sys.exit(main([args.method, *rest]))
