"""``python -m arkloom.sft``."""

import sys

from arkloom.sft.stage import STAGE
from arkloom.stage import main

sys.exit(main(STAGE))
