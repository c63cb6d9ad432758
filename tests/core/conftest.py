"""Fixtures for tests of plugins, of files and of formats."""

from support.file_systems import other_file_system
from support.metric_path import read_spool
from support.throwaway import install, site

__all__ = ["install", "other_file_system", "read_spool", "site"]
