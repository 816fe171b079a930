"""The same as `actionrnn evaluate`: python tools/evaluate.py --help."""

import sys

from actionrnn.apps.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]], prog_name="actionrnn")
