"""The names of a server: under which hosts it answers, and whose pages may use it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from actionrnn.errors import ConfigError
from actionrnn.text import plain

ANY = "*"
_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int | None]
"""Scheme, host, and port, written out."""


@dataclass(frozen=True)
class Names:
    """What the `Host` and the `Origin` of a request may be."""

    hosts: frozenset[str]
    """As `host_of` writes them; with `ANY`, every one."""
    origins: frozenset[Origin]
    """Of pages, beside those under the host that the request names."""

    @classmethod
    def of(cls, hosts: Iterable[str], origins: Iterable[str] = ()) -> Names:
        """Names as a person writes them: `example.com`, `https://example.com`.

        Raises:
            ConfigError: one of them is no host, or no origin.
        """
        return cls(frozenset(map(_named_host, hosts)), frozenset(map(_named_origin, origins)))

    def problem(self, headers: Headers) -> tuple[int, str] | None:
        """Why a request is refused: the status and one line."""
        host = headers.get("host", "")
        found = _host_and_port(host)
        name = found[0] if found else ""
        if ANY not in self.hosts and name not in self.hosts:
            remedy = f"; allow it with --allow-host {plain(name)}" if name else ""
            return 400, f"'{plain(host)}' is not a name of this server{remedy}"
        origin = headers.get("origin")
        if origin is None:
            return None
        page = _origin(origin)
        if page is not None and (page in self.origins or page[1:] == _with_port(found, page[0])):
            return None
        remedy = f"; allow it with --allow-origin {plain(origin)}" if page else ""
        return 403, f"the page '{plain(origin)}' is not of this server, '{plain(host)}'{remedy}"


def own_names(host: str, address: str) -> tuple[str, ...]:
    """The names of a server that was told to listen on `host`, and listens on `address`.

    On loopback only those, so that no foreign page can reach it by a name of its own.
    """
    if not ipaddress.ip_address(address).is_loopback:
        return (ANY,)
    return host, address, "localhost"


def _named_host(text: str) -> str:
    found = _host_and_port(f"[{text}]" if text.count(":") > 1 and "[" not in text else text)
    if found is None:
        raise ConfigError(f"--allow-host {text}: is no host; write example.com")
    return found[0]


def _named_origin(text: str) -> Origin:
    origin = _origin(text.removesuffix("/"))
    if origin is None:
        raise ConfigError(f"--allow-origin {text}: is no origin; write https://example.com")
    return origin


def _origin(text: str) -> Origin | None:
    scheme, separator, host = text.partition("://")
    found = _host_and_port(host)
    if not scheme or not separator or found is None:
        return None
    return scheme.lower(), *_with_port(found, scheme.lower())


def _with_port(found: tuple[str, int | None] | None, scheme: str) -> tuple[str, int | None]:
    host, port = found or ("", None)
    return host, _PORTS.get(scheme) if port is None else port


def _host_and_port(text: str) -> tuple[str, int | None] | None:
    """`Example.com.:443` -> (`example.com`, 443); None for what is none of a host."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.netloc != text or parts.username is not None:
        return None
    return _spelled(host.removesuffix(".")), port


def _spelled(host: str) -> str:
    """An address in its short form; a name as it is."""
    try:
        return ipaddress.ip_address(host).compressed
    except ValueError:
        return host
