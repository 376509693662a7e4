"""`gatebook connect URL` whose clock is ahead by what a file says: `python connect_later.py OFFSET_FILE URL [TOKEN_ENV]`. The command itself, but for the clock."""

import os
import sys
import time
from pathlib import Path

from gatebook.cli.connect import Chosen, run

offset, url = Path(sys.argv[1]), sys.argv[2]
chosen = Chosen(token_env=sys.argv[3]) if len(sys.argv) > 3 else Chosen()
out = os.dup(1)
os.dup2(2, 1)
run(url, chosen, sys.stdin.buffer, out, no_browser=True, now=lambda: time.time() + float(offset.read_text()))
