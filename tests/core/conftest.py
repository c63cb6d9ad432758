"""Fixtures for tests of plugins and of files."""

from support.file_systems import other_file_system
from support.throwaway import install, site

__all__ = ["install", "other_file_system", "site"]
