"""lcjax: land-cover mapping from satellites and aircraft in JAX."""

import logging
import time

__version__ = "0.1.0"

STARTED = time.time()  # of this process, nearly: nothing of lcjax, and of what it needs, was imported before

# A library's lines are for whoever sets logging up: the verbs do (lcjax/cli/console.py).
logging.getLogger("lcjax").addHandler(logging.NullHandler())
