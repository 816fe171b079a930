"""The same as `actionrnn train`: python tools/train.py --help."""

import sys

from actionrnn.apps.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]], prog_name="actionrnn")
