"""``python -m arkloom.prepare``."""

import sys

from arkloom.prepare.stage import STAGE
from arkloom.stage import main

sys.exit(main(STAGE))
