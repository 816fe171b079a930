"""The same as `actionrnn prepare ucf101`: python tools/prepare_ucf101.py --help."""

import sys

from actionrnn.apps.cli import main

if __name__ == "__main__":
    main(["prepare", "ucf101", *sys.argv[1:]], prog_name="actionrnn")
