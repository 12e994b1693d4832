"""``python -m arkloom.grpo``."""

import sys

from arkloom.grpo.stage import STAGE
from arkloom.stage import main

sys.exit(main(STAGE))
