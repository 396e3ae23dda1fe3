"""Web addresses that came from outside: what counts as one, whose it is, and whether it is safe to go there."""

import re
from urllib.parse import urlencode, urlsplit

from app.lti.models import MAX_URL
from app.settings import is_loopback

_USUAL_PORTS = {"https": 443, "http": 80}
_AUTHORITY = re.compile(r"([\w-]+(\.[\w-]+)*|\[[0-9a-f:.]+\])(:[0-9]*)?", re.ASCII | re.IGNORECASE)


def web_address(value: object) -> str | None:
    """Return the value where it is an http or https address that a table holds. Who may be asked is another rule."""
    if not isinstance(value, str) or len(value) > MAX_URL:
        return None
    return value if value.startswith(("https://", "http://")) and host_of(value) else None


def host_of(address: str) -> str:
    """Return an address's host, with its port where that is not the usual one; empty for no address.

    What browsers, servers and `urlsplit` read differently is none: a user's name, controls (which `urlsplit` drops),
    a dot at the end, port 0 (which asks the usual one).
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    written = address.isascii() and address.isprintable() and _AUTHORITY.fullmatch(parts.netloc)
    if not written or port == 0:
        return ""
    host = f"[{host}]" if ":" in host else host
    return host if port in {None, _USUAL_PORTS.get(parts.scheme)} else f"{host}:{port}"


def origin_of(address: str) -> str:
    """Return an address's origin as browsers write it (RFC 6454, section 6.2); empty for no address."""
    host = host_of(address)
    return f"{urlsplit(address).scheme}://{host}" if host else ""


def same_origin(address: str, other: str) -> bool:
    """Tell whether two addresses have one origin."""
    return origin_of(address) == origin_of(other) != ""


def is_protected(address: str, *, production: bool) -> bool:
    """Tell whether what is sent there cannot be read on the way: over https, or in development to this machine."""
    if not host_of(address):
        return False
    parts = urlsplit(address)
    if parts.scheme == "http":
        return not production and is_loopback(parts.hostname or "")
    return parts.scheme == "https"


def with_query(address: str, **added: str | int) -> str:
    """Return an address with parameters added to its own."""
    parts = urlsplit(address)
    return parts._replace(query="&".join(filter(None, (parts.query, urlencode(added))))).geturl()


def without_query(address: str) -> str:
    """Return an address as it may stand in the log: its query may hold a token."""
    return address.partition("?")[0]
