"""``fedtrack policy check|explain|schema|log``: what may leave a site, and what has left it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedtrack.cli.table import AsJson, show
from fedtrack.output import echo

if TYPE_CHECKING:
    from fedtrack.policy.policy import Policy
    from fedtrack.seals.release_log import Line

app = typer.Typer(name="policy", help="What may leave a site, and what has left it.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A policy, in JSON or TOML.")]


@app.command()
def check(file: File) -> None:
    """Check a policy, and say what it lets out; exit code 1 if it is not valid, and would let out nothing."""
    from fedtrack.policy.policy import KINDS, read

    policy, sha256 = read(file)
    echo(f"{file} is valid.\nsha256:{sha256}")
    for rule in policy.allow:
        echo(f"metrics {rule.key}: {_rule(rule)}")
    if policy.default == "allow":
        echo("every other metric: released as it is, because the default is allow")
    elif not policy.allow:
        echo("metrics: none")
    for kind in KINDS:
        said = getattr(policy, kind) or policy.default
        shown = {"allow": "all", "deny": "none"}[said] if isinstance(said, str) else ", ".join(said) or "none"
        echo(f"{kind}: {shown}")
    echo("Not covered: the parameters of a model and their weight.")


@app.command()
def explain(
    file: File,
    key: Annotated[str, typer.Option("--key", help="The key of a log call.")],
    job: Annotated[Path | None, typer.Option(help="A policy of a job, which may only make it stricter.")] = None,
) -> None:
    """Say what happens to log calls with one key, and which rule decides."""
    from fedtrack.policy.plan import Plan
    from fedtrack.policy.policy import KINDS, read

    policies: dict[str, Policy] = {str(path): read(path)[0] for path in (file, job) if path is not None}
    for name, policy in policies.items():
        rule = policy.rule(key)
        echo(f"{name}: {'no rule allows this metric' if rule is None else f'rule {rule.key}: {_rule(rule)}'}")
    plan = Plan.of(policies.values(), key)
    echo(f"metric {key}: {'withheld' if plan.denied else 'released under the strictest of these rules'}")
    for kind in KINDS:
        allowed = all(policy.allows(kind, key) for policy in policies.values())
        echo(f"{kind} {key}: {'released' if allowed else 'withheld'}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a policy."""
    from fedtrack.policy.policy import schema as found

    echo(json.dumps(found(), indent=2))


@app.command()
def log(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run, the folder of a site in it, or a release log.")],
    site: Annotated[str | None, typer.Option(help="Only this site.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a site has let out: key, round and count, never a value. Exit code 1 if a log was changed."""
    from fedtrack.errors import ConfigError
    from fedtrack.runs.release_logs import checked, find_logs

    rows: list[dict[str, Any]] = []
    found = find_logs(run)
    if site is not None:
        found = {name: path for name, path in found.items() if name == site}
    if not found:
        of = "" if site is None else f" of {site}"
        raise ConfigError(f"{str(run)!r} has no release log{of}; only a site with a policy, or with a key, has one.")
    for name, path in found.items():
        lines, said = checked(path)
        rows += _rows(name, lines)
        echo(f"{name}: {said}", err=as_json)
    show(rows, ("site", "round", "kind", "key", "released", "refused"), as_json=as_json)


def _rows(site: str, lines: list[Line]) -> list[dict[str, Any]]:
    counts: dict[tuple[Any, str, str], int] = {}
    refused = 0
    for line in lines:
        refused += line.refused
        for one in line.released:
            at = (line.round, one.kind, one.key)
            counts[at] = counts.get(at, 0) + one.count
    rows = [
        {"site": site, "round": round_, "kind": kind, "key": key, "released": count, "refused": ""}
        for (round_, kind, key), count in counts.items()
    ]
    if refused:
        rows.append({"site": site, "round": None, "kind": "", "key": "", "released": 0, "refused": refused})
    return [row | {"round": "" if row["round"] is None else row["round"]} for row in rows]


def _rule(rule: Any) -> str:
    words = []
    if rule.every == "round":
        words.append("the first value of each round")
    elif rule.every > 1:
        words.append(f"the first of every {rule.every} values")
    else:
        words.append("every value")
    if rule.clip is not None:
        words.append(f"clipped to {rule.clip[0]:g} to {rule.clip[1]:g}")
    if rule.sig is not None:
        words.append(f"{rule.sig} significant digit{'s' if rule.sig > 1 else ''}")
    if rule.min_n is not None:
        words.append(f"only of {rule.min_n} samples or more")
    return ", ".join(words)
