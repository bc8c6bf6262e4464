"""``python -m medinr``."""

import sys

from medinr.cli import main

sys.exit(main())
