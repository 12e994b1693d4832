"""``python -m arkloom.gate``."""

import sys

from arkloom.gate.stage import STAGE
from arkloom.stage import main

sys.exit(main(STAGE))
