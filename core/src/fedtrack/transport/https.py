"""HTTPS: carries the messages of one site to a collector, one request for each message.

The site's name and the run are in the token and the address, never in a message. A proxy on the way may answer for the
collector, so only an answer that is an acknowledgement counts as one. Every other answer means that the message must be
sent again: the records are still in the spool.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from os import environ
from time import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from fedtrack.errors import ConfigError, TransportError
from fedtrack.transport.address import Address
from fedtrack.transport.shipper import TooLargeError
from fedtrack.transport.wire import Ack, FromSite, decode_ack, encode

if TYPE_CHECKING:
    import httpx2

#: Media type of a message and of its answer.
CONTENT_TYPE = "application/vnd.fedtrack"
#: The header by which a collector says whose token it was.
SITE_HEADER = "fedtrack-site"
#: The beginnings of a token for one site, and of a token for a pattern of sites.
TOKEN_PREFIX, PATTERN_PREFIX = "ft_", "ftn_"
#: Below 1 MB, the most that proxies take unless they are told otherwise.
BATCH_BYTES = 512 * 1024
#: Seconds until the next attempt after an answer that only a person can change.
REFUSED_SECONDS = 30.0
#: Environment variables with a file of certificate authorities; the first one that is set is used.
CA_VARIABLES = ("FEDTRACK_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

_LONGEST_RETRY_AFTER = 3600.0
_KEEP_ALIVE_SECONDS = 3600.0


class HttpsLine:
    """A connection to a collector, which carries the messages of one token; used by one thread.

    Args:
        address: The collector.
        token: The secret that says which sites this is.
        timeout: Seconds to wait for a connection, and for each part of an answer.

    Attributes:
        skew: The collector's clock minus this one's, in seconds, at the last answer; None before.

    Raises:
        ConfigError: The certificate authorities cannot be read.
        ImportError: httpx2 is not installed.
    """

    def __init__(self, address: Address, token: str, timeout: float = 30.0) -> None:
        self.address = address
        self.skew: float | None = None
        self._client = new_client(address, token, timeout)
        self._names_site = token.startswith(PATTERN_PREFIX)

    def call_of(self, run: str, site: str) -> Callable[[FromSite], Ack]:
        """Return a function that sends a message of a site to its run, for a ``SpoolShipper``.

        The function raises TooLargeError if no message of this size arrives, and TransportError if there is no answer,
        or another one than the collector's.
        """
        # A token of one site says which one it is.
        where = f"/sites/{quote(site, safe='')}" if self._names_site else ""
        url = f"{self.address.url}/v1/runs/{quote(run, safe='')}{where}/messages"
        return lambda message: self._send(url, site, message)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _send(self, url: str, site: str, message: FromSite) -> Ack:
        import httpx2

        try:
            response = self._client.post(url, content=encode(message))
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise TransportError(_reason(error, self.address)) from None
        with suppress(KeyError, ValueError, TypeError):
            self.skew = parsedate_to_datetime(response.headers["date"]).timestamp() - time()
        return self._answer(response, site)

    def _answer(self, response: httpx2.Response, site: str) -> Ack:
        code = response.status_code
        if code == 413:
            raise TooLargeError(f"{self.address.url} takes no message of this size")
        if code == 200 and response.headers.get("content-type") == CONTENT_TYPE:
            named = response.headers.get(SITE_HEADER, site)
            if named != site:
                return Ack("busy", retry_after=REFUSED_SECONDS, reason=f"the token is of {named!r}, not of {site!r}")
            return decode_ack.decode(response.content)
        said = _said(response)
        if code in (401, 403, 404, 421):
            return Ack("busy", retry_after=REFUSED_SECONDS, reason=f"{code}: {said}")
        if code == 200 or 300 <= code < 400:
            raise TransportError(f"{self.address.url} answered {code}, but not as a collector: {said}")
        return Ack("busy", retry_after=retry_after(response.headers), reason=f"{code}: {said}")


def new_client(address: Address, token: str, timeout: float) -> httpx2.Client:
    """Return a client that keeps its connection, uses the environment's proxy, and verifies certificates."""
    import httpx2

    headers = {"authorization": f"Bearer {token}", "content-type": CONTENT_TYPE, "user-agent": "fedtrack"}
    # One message at a time, and perhaps an hour of silence between two.
    limits = httpx2.Limits(max_connections=1, keepalive_expiry=_KEEP_ALIVE_SECONDS)
    if address.socket:
        carrier = httpx2.HTTPTransport(uds=address.socket, limits=limits)
        return httpx2.Client(transport=carrier, headers=headers, timeout=timeout, trust_env=False)
    secure = address.url.startswith("https")
    # A proxy of the environment would be asked for this machine's own addresses, too.
    return httpx2.Client(
        headers=headers, timeout=timeout, limits=limits, verify=trusted() if secure else True, trust_env=secure
    )


def trusted() -> ssl.SSLContext | bool:
    """Return the certificate authorities of the environment's file; True means those of the system.

    Raises:
        ConfigError: The file cannot be read, or has no certificate.
    """
    for variable in CA_VARIABLES:
        if file := environ.get(variable):
            try:
                return ssl.create_default_context(cafile=file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(
                    f"The certificate authorities in {file!r} ({variable}) cannot be used: {error}; "
                    "name a file of PEM certificates."
                ) from None
    return True


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of a Retry-After header, which has seconds or a date; 0 without one."""
    text = headers.get("retry-after", "").strip()
    with suppress(ValueError):
        return min(max(0.0, float(text)), _LONGEST_RETRY_AFTER) if text else 0.0
    with suppress(ValueError, TypeError):
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - time()), _LONGEST_RETRY_AFTER)
    return 0.0


def _said(response: httpx2.Response) -> str:
    """Return the first words of an answer that is no acknowledgement."""
    kind = response.headers.get("content-type", "")
    text = response.text if kind.startswith(("text/plain", "application/json")) else ""
    return " ".join(text.split())[:200] or response.reason_phrase


def _reason(error: Exception, address: Address) -> str:
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        text += "; if the collector's authority is your own, name its file in FEDTRACK_CA_BUNDLE"
        if "not yet valid" in text or "expired" in text:
            text += "; compare the clocks of both machines"
    return f"{address.socket or address.url}: {text}"
