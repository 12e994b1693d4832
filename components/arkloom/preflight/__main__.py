"""``python -m arkloom.preflight``."""

import sys

from arkloom.preflight.process import main

sys.exit(main())
