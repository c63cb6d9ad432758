"""ResolvedReceiver: a receiver from its name and its arguments as written, with references instead of secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedtrack.errors import ConfigError
from fedtrack.job.operator_rules import OperatorRules
from fedtrack.job.references import resolve_here
from fedtrack.plugins import registry
from fedtrack.tracking.receiver import Receiver


def built_receiver(name: str, args: Mapping[str, Any], where: str, rules: OperatorRules | None = None) -> Receiver:
    """Return the receiver with its references resolved; it is not opened.

    Args:
        name: Its registered name.
        args: Its arguments as they are written.
        where: The place of the arguments, for messages.
        rules: What a job may use here; None if the operator has written the arguments, or they were checked before.

    Raises:
        PluginError: It is not installed.
        ConfigError: An argument is not valid, holds a secret itself, or uses what the rules do not allow.
    """
    cls = registry().receiver(name)
    if rules is not None:
        rules.check(cls, args, where)
    resolved = resolve_here(args, where)
    try:
        receiver = cls(**resolved)
    except (ConfigError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from None
    # What is stored or sent to another process.
    receiver.arguments_as_written = dict(args)
    return receiver
