"""Arguments of a receiver on the command line, with the same rules as in a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.job.references import refuse_secrets, resolve_here
from fedtrack.json_text import decode_json

_WHERE = "--args"


def written_arguments(text: str) -> dict[str, Any]:
    """Return the value of ``--args``, with ``${ENV:NAME}`` unchanged.

    Raises:
        ConfigError: The text is not a JSON object, or contains a secret itself.
    """
    try:
        args = decode_json(text, dict[str, Any])
    except msgspec.DecodeError as error:
        # Without the text, because it may contain a secret.
        raise ConfigError(f"{_WHERE} is no JSON object: {error}; write it as '{{\"name\": value}}'.") from None
    refuse_secrets(args, _WHERE)
    return args


def resolved_arguments(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``args`` with every ``${ENV:NAME}`` replaced by the environment variable.

    Raises:
        ConfigError: A variable is not set.
    """
    return resolve_here(args, _WHERE)
