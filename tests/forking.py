"""Several processes that run the same code at once, for one import of torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

_LAUNCH = """
import json
import os
import sys
import traceback

imports, code, environments, *sys.argv[1:] = sys.argv[1:]
names = {"__name__": "__main__"}
exec(imports, names)
children = []
for environment in json.loads(environments):
    child = os.fork()  # before anything was computed: there are no threads yet
    if child:
        children.append(child)
        continue
    os.environ.update(environment)
    status = 0
    try:
        exec(code, names)
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 70
    os._exit(status)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""


def fork_each(
    imports: str, code: str, environments: Sequence[dict[str, str]], *arguments: str | Path
) -> list[int]:
    """Run `imports` once, then `code` once in each environment, at the same time.

    Args:
        arguments: `sys.argv[1:]` of all of them.

    Returns:
        the exit codes.
    """
    if not hasattr(os, "fork"):
        pytest.skip("forks")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _LAUNCH,
            imports,
            code,
            json.dumps(environments),
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    codes: list[int] = json.loads(done.stdout.splitlines()[-1])
    return codes
