#!/usr/bin/env python3
"""lcjax: land-cover mapping from satellites and aircraft. `launch.py VERB --help` teaches a verb."""

import sys

from lcjax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
