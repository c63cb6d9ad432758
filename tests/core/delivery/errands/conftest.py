"""Fixtures for tests of errands."""

from support.deliverers import misbehaving

__all__ = ["misbehaving"]
