"""Site folders: a site's name becomes the name of its folder, which is also its run in TensorBoard."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote

#: File systems allow 255 bytes; longer names end in a digest.
_LONGEST = 200


def folder_name(site: str) -> str:
    """Return a file name for ``site``: different for different sites, and never a path.

    Letters, digits, ``-``, ``_``, ``.`` and ``~`` stay; everything else is percent-encoded as in a URL, and so
    is a leading dot. A name that would be too long ends in ``+`` and a digest; ``+`` itself is always encoded.
    """
    name = quote(site, safe="", errors="surrogatepass")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not name or len(name) > _LONGEST:
        digest = sha256(site.encode(errors="surrogatepass")).hexdigest()
        name = f"{name[: _LONGEST - 33]}+{digest[:32]}"
    return name
