"""The same as `actionrnn extract`: python tools/extract_features.py --help."""

import sys

from actionrnn.apps.cli import main

if __name__ == "__main__":
    main(["extract", *sys.argv[1:]], prog_name="actionrnn")
