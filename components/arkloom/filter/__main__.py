"""``python -m arkloom.filter``."""

import sys

from arkloom.filter.stage import STAGE
from arkloom.stage import main

if __name__ == "__main__":
    sys.exit(main(STAGE))
