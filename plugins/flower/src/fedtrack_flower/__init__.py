"""Tracks a Flower federation with three lines: a mod of the client app, and ``track`` around the server's strategy.

::

    from fedtrack_flower import fedtrack_mod, track

    app = ClientApp(mods=[fedtrack_mod])
    strategy = track(FedAvg(), context)
"""

from fedtrack_flower.client import fedtrack_mod
from fedtrack_flower.server import track

__all__ = ["fedtrack_mod", "track"]
