"""`python -m alignkit.cli` is `alignkit`."""

import sys

from . import main


sys.exit(main())
