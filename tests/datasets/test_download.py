"""Downloads against a server that drops, ignores, changes and refuses."""

from __future__ import annotations

import hashlib
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from actionrnn.datasets import download as module
from actionrnn.datasets.download import RemoteFile, download, require_free_space
from actionrnn.errors import DatasetError

if TYPE_CHECKING:
    from tests.datasets.conftest import Site


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, none of them waited."""
    found: list[float] = []
    monkeypatch.setattr(module.time, "sleep", found.append)
    return found


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.bin"


def remote_of(site: Site) -> RemoteFile:
    return RemoteFile(site.url, len(site.content), hashlib.sha256(site.content).hexdigest())


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_comes_whole_and_alone(site: Site, target: Path) -> None:
    download(remote_of(site), target)
    assert target.read_bytes() == site.content
    assert names(target) == ["file.bin"]
    assert site.requests == [(None, None)]


def test_a_file_that_exists_is_not_fetched_again(site: Site, target: Path) -> None:
    download(remote_of(site), target)
    download(remote_of(site), target)
    assert len(site.requests) == 1


def test_a_dropped_connection_resumes_where_it_stopped(
    site: Site, target: Path, waits: list[float]
) -> None:
    site.cut_after = [100_000, 50_000]
    download(remote_of(site), target)
    assert target.read_bytes() == site.content
    assert site.requests == [
        (None, None),
        ("bytes=100000-", '"v1"'),
        ("bytes=150000-", '"v1"'),
    ]
    assert waits == [1.0, 1.0]  # each try brought new bytes


def test_a_server_without_ranges_is_asked_for_the_whole_again(site: Site, target: Path) -> None:
    site.cut_after, site.knows_ranges = [100_000], False
    download(remote_of(site), target)
    assert target.read_bytes() == site.content
    assert len(site.requests) == 2


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_a_file_that_changed_between_two_tries_is_never_mixed(
    site: Site, target: Path, honours_if_range: bool
) -> None:
    site.cut_after, site.honours_if_range = [100_000], honours_if_range
    handle, new = site.handle, bytes(reversed(site.content))

    def change_after_the_first(request: Any) -> None:
        handle(request)
        site.content, site.etag = new, '"v2"'

    site.handle = change_after_the_first  # type: ignore[method-assign]
    download(RemoteFile(site.url, len(new)), target)
    assert target.read_bytes() == new


def test_a_server_that_names_no_version_is_asked_for_the_whole_again(
    site: Site, target: Path
) -> None:
    site.cut_after, site.etag = [100_000], None
    download(remote_of(site), target)
    assert target.read_bytes() == site.content
    assert site.requests == [(None, None), (None, None)]


def test_an_interrupted_download_keeps_its_part_and_resumes_later(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    site.cut_after = [100_000]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module.time, "sleep", interrupt)
        download(remote_of(site), target)
    assert names(target) == ["file.bin.actionrnn-part", "file.bin.actionrnn-part.version"]
    download(remote_of(site), target)
    assert target.read_bytes() == site.content
    assert names(target) == ["file.bin"]
    assert site.requests[1] == ("bytes=100000-", '"v1"')


def test_a_part_that_is_whole_only_gets_its_name(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.actionrnn-part").write_bytes(site.content)
    target.with_name("file.bin.actionrnn-part.version").write_text('"v1"')
    download(remote_of(site), target)
    assert target.read_bytes() == site.content
    assert site.requests == []


def test_a_part_that_is_longer_than_the_file_is_dropped(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.actionrnn-part").write_bytes(site.content + b"more")
    target.with_name("file.bin.actionrnn-part.version").write_text('"v1"')
    download(remote_of(site), target)
    assert target.read_bytes() == site.content


def test_a_part_of_unknown_origin_is_dropped(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.actionrnn-part").write_bytes(b"who knows")
    download(remote_of(site), target)
    assert target.read_bytes() == site.content
    assert site.requests == [(None, None)]


def test_a_connection_that_drops_without_end_is_given_up_and_the_part_kept(
    site: Site, target: Path, waits: list[float]
) -> None:
    site.cut_after = [100_000] + [0] * 99
    with pytest.raises(DatasetError, match=r"drops again and again .*it resumes where it stopped"):
        download(remote_of(site), target)
    assert waits == list(module.RETRY_WAITS_SECONDS)
    assert len(site.requests) == 1 + len(module.RETRY_WAITS_SECONDS)
    assert target.with_name("file.bin.actionrnn-part").stat().st_size == 100_000
    assert not target.exists()


def test_a_server_without_ranges_that_drops_each_time_is_given_up(site: Site, target: Path) -> None:
    """Each try brings bytes, and none of them new."""
    site.cut_after, site.knows_ranges = [100_000] * 99, False
    with pytest.raises(DatasetError, match="drops again and again"):
        download(remote_of(site), target)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(
    site: Site, target: Path, status: int, waits: list[float]
) -> None:
    site.statuses = [status, status]
    download(remote_of(site), target)
    assert target.read_bytes() == site.content
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_final_and_one_line(
    site: Site, target: Path, status: int, waits: list[float]
) -> None:
    site.statuses = [status]
    with pytest.raises(DatasetError, match=rf": the server answers HTTP {status}"):
        download(remote_of(site), target)
    assert waits == []
    assert names(target) == []


def test_without_a_network_it_is_one_line_at_once(
    site: Site, target: Path, waits: list[float]
) -> None:
    offline = RemoteFile("http://127.0.0.1:1/file.bin", 1)
    with pytest.raises(DatasetError, match=r"cannot be reached .*connect to the network"):
        download(offline, target)
    assert waits == []


def test_a_certificate_that_cannot_be_verified_is_answered_with_the_remedy(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "unable to get local issuer certificate"

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError(error)

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(DatasetError, match=r"local issuer certificate\).*SSL_CERT_FILE"):
        download(RemoteFile("https://example.org/file.bin", 1), target)


def test_a_file_of_another_size_is_refused_before_it_is_fetched(site: Site, target: Path) -> None:
    expected = RemoteFile(site.url, size_bytes=len(site.content) + 1)
    with pytest.raises(DatasetError, match="has 300000 bytes, not 300001 as expected"):
        download(expected, target)
    assert names(target) == []


def test_a_file_of_another_size_is_refused_after_it_came(site: Site, target: Path) -> None:
    site.tells_length = False
    with pytest.raises(DatasetError, match=r"has 300000 bytes, not 299999"):
        download(RemoteFile(site.url, size_bytes=299_999), target)
    assert names(target) == []


def test_a_file_of_another_content_is_refused(site: Site, target: Path) -> None:
    with pytest.raises(DatasetError, match=r"has the sha256 [0-9a-f]{64}, not 0{64}"):
        download(RemoteFile(site.url, len(site.content), "0" * 64), target)
    assert names(target) == []


def test_another_file_of_the_name_is_left_alone(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"mine")
    with pytest.raises(DatasetError, match=r"has 4 bytes, not 300000 .*delete it"):
        download(remote_of(site), target)
    assert target.read_bytes() == b"mine"
    assert site.requests == []


class Usage(NamedTuple):
    free: int


def test_a_disk_that_is_too_small_is_seen_before_a_byte_is_fetched(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: Usage(299_999))
    with pytest.raises(DatasetError, match=r"has 0\.0 GB free, 0\.0 GB are needed; make room"):
        download(remote_of(site), target)
    assert not target.with_name("file.bin.actionrnn-part").exists()


def test_free_space_is_said_in_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: Usage(2_500_000_000))
    require_free_space(tmp_path, 2_500_000_000)
    with pytest.raises(DatasetError, match=r"has 2\.5 GB free, 7\.1 GB are needed"):
        require_free_space(tmp_path, 7_100_000_000)


def test_a_folder_that_cannot_be_made_is_one_line(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"cannot be written \(Not a directory\)"):
        download(remote_of(site), tmp_path / "file" / "below" / "file.bin")
