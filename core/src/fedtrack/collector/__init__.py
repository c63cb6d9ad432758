"""Collector: the server of ``fedtrack collect``, which takes the events of sites over HTTPS or from a shared folder.

It needs no engine: the federation is somebody else's. Each run has a journal and receivers of its own.
"""
