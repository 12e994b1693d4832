"""``python -m arkloom.prm``."""

import sys

from arkloom.prm.stage import STAGE
from arkloom.stage import main

sys.exit(main(STAGE))
