"""The spool: the append-only files in which a log call ends, how they are written and how they are read.

``spool.py`` writes, ``reader.py`` reads, ``frames.py`` is the format, and ``base.py`` has the compiled twin.
"""
