API: int

class SpoolBase:
    """See ``fedtrack.spool.base.PythonSpoolBase``."""

    _fd: int
    _salt: int
    _next_seq: int
    _segment_size: int
    _plain_until: int
    _writing: bool
    _torn: bool
    _prefix: bytes

    def append_metric(self, key: object, value: object, step: object, /) -> bool: ...
    def append_metrics(self, metrics: object, step: object, time_ns: object, /) -> bool: ...
