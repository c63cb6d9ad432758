"""Workflows of the local engine, and the interface for them."""
