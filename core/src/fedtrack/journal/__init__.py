"""The journal: a node's SQLite store of every event, exactly once, in order per (site, stream)."""
