"""Fixtures for tests of deliverers."""

from support.deliverers import misbehaving

__all__ = ["misbehaving"]
