"""`python -m dqcore`: the command line."""

import sys

from dqcore.audit.cli import main

if __name__ == "__main__":
    sys.exit(main())
