"""The command line: one module for each verb."""

import time

STARTED = time.time()  # of this process, nearly: only the door of lcjax was imported before
