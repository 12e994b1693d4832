"""``python -m arkloom.evaluate``."""

import sys

from arkloom.evaluate.stage import STAGE
from arkloom.stage import main

if __name__ == "__main__":
    sys.exit(main(STAGE))
