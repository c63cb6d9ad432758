"""The parquet receiver for fedtrack.

The entry point names this module and every listing imports it, so it stays light: no SDK here.
"""

from __future__ import annotations

from fedtrack import Receiver, hookimpl

from fedtrack_parquet.receiver import ParquetReceiver

__all__ = ["ParquetReceiver"]


@hookimpl
def fedtrack_receivers() -> list[type[Receiver]]:
    """Provide the receiver."""
    return [ParquetReceiver]
