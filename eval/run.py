"""Evaluate models or adapters on a suite: accuracy with intervals, paired comparison, a report in one file.

    python eval/run.py bundled/tiny-math --suite tiny_math --out outputs/eval
    python eval/run.py outputs/run1/adapter --compare Qwen/Qwen2.5-1.5B-Instruct --suite gsm8k --out outputs/gsm8k
    python eval/run.py suites

The same as `alignkit eval ...`; docs/guides/evaluation.md tells more.
"""

import sys

from alignkit.cli import main


if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
