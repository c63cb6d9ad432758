"""The signed record of a run: a site's key, the chain of its records, and the log of what its agent let out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.seals.site_key import SiteKey, signs

_HOMES = {"SiteKey": "fedtrack.seals.site_key", "signs": "fedtrack.seals.site_key"}

__all__ = ["SiteKey", "signs"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
