"""``python -m arkloom.register``."""

import sys

from arkloom.register.stage import STAGE
from arkloom.stage import main

sys.exit(main(STAGE))
