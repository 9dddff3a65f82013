"""`python -m lcjax` is `lcjax`."""

import sys

from lcjax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
