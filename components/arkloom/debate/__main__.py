"""``python -m arkloom.debate``."""

import sys

from arkloom.debate.stage import STAGE
from arkloom.stage import main

if __name__ == "__main__":
    sys.exit(main(STAGE))
