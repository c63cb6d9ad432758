"""The release policy of a site: which of its log calls may leave it, and how exact.

A site's owner writes it, and a job may add one of its own; the strictest wins. It is applied twice. The process that
logs changes and withholds (the gate), so that a raw value never reaches the disk. The agent, which the script cannot
change, only refuses (the guard, in ``transport``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.policy.gate import Gate, error_type
    from fedtrack.policy.policy import Policy, Rule
    from fedtrack.policy.run_terms import RunTerms
    from fedtrack.policy.terms import Terms, terms_of

_HOMES = {
    "Gate": "fedtrack.policy.gate",
    "Policy": "fedtrack.policy.policy",
    "Rule": "fedtrack.policy.policy",
    "RunTerms": "fedtrack.policy.run_terms",
    "Terms": "fedtrack.policy.terms",
    "error_type": "fedtrack.policy.gate",
    "terms_of": "fedtrack.policy.terms",
}

__all__ = ["Gate", "Policy", "Rule", "RunTerms", "Terms", "error_type", "terms_of"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
