"""The command line."""

import sys

from filtersight.training.train import main

sys.exit(main(sys.argv[1:]))
