"""Config and Summary: ``run.config`` and ``run.summary``, with attributes and items, whose changes are logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: The deepest nesting of dicts; there is a limit because a dict may contain itself.
_MAX_DEPTH = 16


class LoggedDict:
    """A dict with attributes; each change is logged.

    Args:
        log: Called with each changed key and value; nested dicts are flattened to ``outer.inner``.
    """

    _values: dict[str, Any]
    _log: Callable[[str, Any], None]

    def __init__(self, log: Callable[[str, Any], None]) -> None:
        object.__setattr__(self, "_values", {})
        object.__setattr__(self, "_log", log)

    def update(self, d: Any = None, allow_val_change: bool | None = None, **more: Any) -> None:
        """Set the values of a dict, or of an object with attributes such as the arguments of a script."""
        if d is not None and not isinstance(d, Mapping):
            d = vars(d) if hasattr(d, "__dict__") else dict(d)
        for key, value in {**(d or {}), **more}.items():
            self[str(key)] = value

    def setdefaults(self, d: Mapping[str, Any]) -> dict[str, Any]:
        """Set the values that are missing."""
        for key, value in d.items():
            if key not in self._values:
                self[key] = value
        return self.as_dict()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value."""
        return self._values.get(key, default)

    def keys(self) -> Any:
        """Return the keys."""
        return self._values.keys()

    def items(self) -> Any:
        """Return keys and values."""
        return self._values.items()

    def values(self) -> Any:
        """Return the values."""
        return self._values.values()

    def as_dict(self) -> dict[str, Any]:
        """Return a copy."""
        return dict(self._values)

    def persist(self) -> None:
        """Do nothing: each change is logged at once."""

    def merge_locked(self, d: Mapping[str, Any]) -> None:
        """Set the values of a dict."""
        self.update(d)

    def update_locked(self, d: Mapping[str, Any], user: str | None = None, _allow_val_change: Any = None) -> None:
        """Set the values of a dict."""
        self.update(d)

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value
        for name, item in _flat(key, value):
            self._log(name, item)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __getattr__(self, key: str) -> Any:
        try:
            return self._values[key]
        except KeyError:
            raise AttributeError(f"nothing was set for {key!r}") from None

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _flat(key: str, value: Any, depth: int = 1) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        for inner, item in value.items():
            yield from _flat(f"{key}.{inner}", item, depth + 1)
    else:
        yield key, value
