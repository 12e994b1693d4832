"""``python -m arkloom``."""

import sys

from arkloom.cli import main

sys.exit(main())
