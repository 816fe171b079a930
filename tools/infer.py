"""The same as `actionrnn classify`: python tools/infer.py --help."""

import sys

from actionrnn.apps.cli import main

if __name__ == "__main__":
    main(["classify", *sys.argv[1:]], prog_name="actionrnn")
