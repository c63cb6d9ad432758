"""Fixtures for tests of a metric's path."""

from support.metric_path import bench, journal, put, read_spool, site

__all__ = ["bench", "journal", "put", "read_spool", "site"]
