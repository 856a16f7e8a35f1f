"""Train a diffusion model on preferred images with any method of the family (diffusion_dpo, seppo).

    accelerate launch trainers/diffusion.py --method seppo --config configs/diffusion/seppo.yaml
    accelerate launch --num_processes 4 trainers/diffusion.py --method diffusion_dpo --config my.yaml --beta 2000

Every field of the method's config, of TRL's `ModelConfig`, `ScriptArguments` and `DatasetMixtureConfig` is a flag and a
YAML key; `alignkit train seppo --help` lists them. `alignkit train` is the same with a pre-flight check first.
"""

import argparse
import sys

from alignkit.cli.training import main


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, add_help=False, allow_abbrev=False)
    parser.add_argument("--method", required=True)
    args, rest = parser.parse_known_args()
    sys.exit(main([args.method, *rest]))
