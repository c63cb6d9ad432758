"""Tracking: records, the writers that make them and the receivers that take them.

Modules here import each other and ``fedtrack.errors``, and nothing else of fedtrack.
"""
