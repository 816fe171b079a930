"""`python -m actionrnn` is the command `actionrnn`."""

from actionrnn.apps.cli import main

if __name__ == "__main__":
    main()
