"""Models on the Hugging Face hub: `hf://USER/NAME`, or `hf://USER/NAME@REVISION`.

The token, the cache and the hub's address are huggingface_hub's own (`hf auth login`, `HF_TOKEN`,
`HF_HOME`, `HF_ENDPOINT`). A repository's one model file is fetched, and no other name.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from actionrnn.errors import ModelError, first_line
from actionrnn.files import MODEL_FILE

PREFIX = "hf://"
CARD_FILE = "README.md"

LARGEST_MODEL_BYTES = 2 * 2**30
"""Of a model file that is fetched; a head has a hundredth of that."""

_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
_REVISION = re.compile(r"[\w./-]{1,200}", re.ASCII)


class Address(NamedTuple):
    """The repository and revision of an `hf://` address."""

    repository: str
    revision: str | None

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}" + (f"@{self.revision}" if self.revision else "")


def is_address(path: str | Path) -> bool:
    """Whether a model is on the hub."""
    return str(path).startswith(PREFIX)


def parse_address(text: str) -> Address:
    """Take `hf://USER/NAME[@REVISION]` apart; the prefix may be missing.

    Raises:
        ModelError: the text is not such an address.
    """
    repository, at, revision = text.removeprefix(PREFIX).partition("@")
    parts = (*repository.split("/"), *revision.split("/"))
    named = _NAME.fullmatch(repository) and (not at or _REVISION.fullmatch(revision))
    if not named or any(part.startswith(".") for part in parts):
        raise ModelError(f"{text!r}: is not a model on the hub; write {PREFIX}USER/NAME[@REVISION]")
    return Address(repository, revision or None)


def fetch(text: str) -> Path:
    """The model file of an address, from the hub or the cache; an interrupted download resumes.

    Raises:
        ModelError: it does not exist, is too large or not for this user, or the hub cannot be
            reached.
    """
    from huggingface_hub import hf_hub_download

    address = parse_address(text)
    with _hub_errors(address):
        announced = hf_hub_download(
            address.repository, MODEL_FILE, revision=address.revision, dry_run=True
        )
        if announced.is_cached:  # also where the hub cannot be reached
            return Path(announced.local_path)
        size_bytes = announced.file_size or 0
        if size_bytes > LARGEST_MODEL_BYTES:
            raise ModelError(
                f"{address}: its {MODEL_FILE} has {size_bytes / 2**30:.1f} GiB, at most "
                f"{LARGEST_MODEL_BYTES / 2**30:.0f} are fetched"
            )
        return Path(hf_hub_download(address.repository, MODEL_FILE, revision=address.revision))


def upload(model: bytes, card: str, text: str, *, private: bool = False) -> str:
    """Publish a model with its card as one new commit; what was there stays in the history.

    Args:
        model: the content of its file.
        text: USER/NAME; made if it is not there.
        private: only for a repository that is made.

    Returns:
        The address of the commit.

    Raises:
        ModelError: there is no token, it may not write there, or the hub cannot be reached.
    """
    import huggingface_hub
    from huggingface_hub import CommitOperationAdd, HfApi

    address = parse_address(text)
    if huggingface_hub.get_token() is None:
        raise ModelError(f"{address}: no token to write with; run `hf auth login`, or set HF_TOKEN")
    api = HfApi()
    with _hub_errors(address):
        api.create_repo(address.repository, private=private, exist_ok=True)
        done = api.create_commit(
            address.repository,
            [
                CommitOperationAdd(MODEL_FILE, model),
                CommitOperationAdd(CARD_FILE, card.encode()),
            ],
            commit_message="Upload an actionrnn model",
            revision=address.revision,
        )
    return str(done.commit_url)


@contextlib.contextmanager
def _hub_errors(address: Address) -> Iterator[None]:
    """The hub's many errors as one line with the remedy."""
    from huggingface_hub import errors

    try:
        yield
    except errors.RevisionNotFoundError:
        raise ModelError(
            f"{address}: the repository has no such revision; leave @{address.revision} out"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"{address}: no such repository, or it is private; check the name, or log in with "
            "`hf auth login`"
        ) from None
    except errors.LocalEntryNotFoundError:
        raise ModelError(
            f"{address}: the hub cannot be reached, and the model is not in the cache; connect, "
            "or give a local file"
        ) from None
    except errors.EntryNotFoundError:
        raise ModelError(
            f"{address}: the repository holds no {MODEL_FILE}; it is not an actionrnn model"
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ModelError(
                f"{address}: the hub refuses this token ({status}); log in with `hf auth login` "
                "with an account that has access"
            ) from None
        raise ModelError(f"{address}: the hub answers {status}; try again later") from None
    except (errors.HTTPError, OSError, ValueError) as error:  # type: ignore[attr-defined]
        reason = first_line(error)
        raise ModelError(f"{address}: cannot be transferred ({reason}); try again") from None
