"""Fixtures for tests of plugins."""

from support.throwaway import install, site

__all__ = ["install", "site"]
