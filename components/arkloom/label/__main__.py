"""``python -m arkloom.label``."""

import sys

from arkloom.label.stage import STAGE
from arkloom.stage import main

sys.exit(main(STAGE))
