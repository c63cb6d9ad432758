"""Backends: whether MLflow, W&B and a collector can be reached with the settings of the environment.

Credentials are sent where the environment says, and are in no text: they are hidden before anything is asked.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fedtrack.cli.diagnosis.finding import Finding, action, note, ok
from fedtrack.cli.diagnosis.machine import folder
from fedtrack.cli.diagnosis.question import SECONDS, Answer, ask, basic, skew
from fedtrack.errors import ConfigError
from fedtrack.redaction import hide, hide_parts, redact
from fedtrack.transport.address import Address

_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "WANDB_API_KEY", "FEDTRACK_TOKEN")
_ADDRESSES = ("MLFLOW_TRACKING_URI", "WANDB_BASE_URL", "FEDTRACK_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_WANDB = "https://api.wandb.ai"
#: Seconds by which the clocks of two machines may differ, with the time of an answer.
_MOST_SKEW = 60.0


def backends(environment: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Yield whether each backend that the environment names can be reached.

    Args:
        environment: The variables; None means those of this process.
    """
    found = os.environ if environment is None else environment
    for name in _SECRETS:
        hide(found.get(name, ""), f"${{ENV:{name}}}")
    for name in (*_ADDRESSES, *(name.lower() for name in _ADDRESSES)):
        hide_parts(found.get(name, ""), f"${{ENV:{name}}}")
    for one in (*_mlflow(found), *_wandb(found), *_collector(found)):
        yield one._replace(found=redact(one.found), remedy=redact(one.remedy))


def _mlflow(env: Mapping[str, str]) -> Iterator[Finding]:
    uri = env.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        yield ok("MLflow", "MLFLOW_TRACKING_URI is not set; nothing was asked")
        return
    try:
        parts = urlsplit(uri)
        host = parts.hostname
    except ValueError as error:
        yield action("MLflow", f"MLFLOW_TRACKING_URI is no address: {error}", "write it as https://HOST[:PORT]")
        return
    if parts.scheme not in ("http", "https"):
        yield ok("MLflow", f"{uri} is no server of HTTP; nothing was asked")
        return
    if not host:
        yield action("MLflow", f"MLFLOW_TRACKING_URI ({uri}) names no host", "write it as https://HOST[:PORT]")
        return
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
    user = env.get("MLFLOW_TRACKING_USERNAME") or unquote(parts.username or "")
    password = env.get("MLFLOW_TRACKING_PASSWORD") or unquote(parts.password or "")
    token = env.get("MLFLOW_TRACKING_TOKEN", "")
    header = basic(user, password) if user else f"Bearer {token}" if token else ""
    context, problem = _authorities(env)
    if problem is not None:
        yield problem
        return
    answer = ask(f"{plain}/api/2.0/mlflow/experiments/search?max_results=1", authorization=header, context=context)
    credentials = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    yield from _judged("MLflow", plain, answer, "MLFLOW_TRACKING_URI", credentials)


def _authorities(env: Mapping[str, str]) -> tuple[ssl.SSLContext | None, Finding | None]:
    """Return the certificate authorities of MLflow's own variables, or why they cannot be used."""
    if env.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("1", "true"):
        return ssl._create_unverified_context(), None  # noqa: S323  # as MLflow itself does
    file = env.get("MLFLOW_TRACKING_SERVER_CERT_PATH", "")
    try:
        return (ssl.create_default_context(cafile=file) if file else None), None
    except OSError as error:
        found = f"the certificates in {file} cannot be used: {error}"
        return None, action("MLflow", found, "name a file of PEM certificates in MLFLOW_TRACKING_SERVER_CERT_PATH")


def _wandb(env: Mapping[str, str]) -> Iterator[Finding]:
    key, named = env.get("WANDB_API_KEY", ""), env.get("WANDB_BASE_URL", "").rstrip("/")
    mode = env.get("WANDB_MODE", "")
    if mode in ("offline", "disabled", "dryrun"):
        yield ok("W&B", f"WANDB_MODE is {mode}; nothing was asked")
        return
    if not key and not named:
        yield ok("W&B", "neither WANDB_API_KEY nor WANDB_BASE_URL is set; nothing was asked")
        return
    url = named or _WANDB
    if not url.startswith(("http://", "https://")):
        yield action("W&B", f"WANDB_BASE_URL ({url}) is no address of HTTP", "write it as https://HOST[:PORT]")
        return
    if not key:
        answer = ask(f"{url}/healthz")
        if answer.status:
            remedy = "set WANDB_API_KEY, or run `wandb login`, where a receiver sends to it"
            yield note("W&B", f"{url} answers; the environment has no key", remedy)
            return
    else:
        answer = ask(f"{url}/graphql", authorization=basic("api", key), body=b'{"query":"{viewer{username}}"}')
        if answer.status == 200 and '"viewer":null' in "".join(answer.text.split()):
            answer = answer._replace(status=401)
    yield from _judged("W&B", url, answer, "WANDB_BASE_URL", "set WANDB_API_KEY to a key of this server")


def _collector(env: Mapping[str, str]) -> Iterator[Finding]:
    where = env.get("FEDTRACK_URL", "")
    if not where:
        yield ok("collector", "FEDTRACK_URL is not set; nothing was asked")
        return
    if "://" not in where:
        yield folder("collector", Path(where).absolute(), "name a collector's address or its folder in FEDTRACK_URL")
        return
    try:
        address = Address.of(where)
    except ConfigError as error:
        yield action("collector", str(error), "correct FEDTRACK_URL")
        return
    yield from _call(address, where, env.get("FEDTRACK_TOKEN", ""))


def _call(address: Address, where: str, token: str) -> Iterator[Finding]:
    """Ask a collector how it is, in the way in which a site would send to it."""
    from fedtrack.plugins.remedy import install
    from fedtrack.transport.https import new_client

    try:
        import httpx2

        client = new_client(address, token or "none", SECONDS)  # a header needs one; this question does not
    except ImportError:
        yield action("collector", "httpx2 is not installed, which sends to it", install("fedtrack[connect]"))
        return
    except ConfigError as error:
        yield action("collector", str(error), "correct the variable")
        return
    with client:
        try:
            response = client.get(f"{address.url}/healthz")
            answer = Answer(response.status_code, response.text[:200], skew(response.headers.get("date")))
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, ValueError) as error:
            answer = Answer(0, str(error) or type(error).__name__)
    yield from _judged("collector", where, answer, "FEDTRACK_URL", "ask its operator")
    if answer.status == 200 and not token:
        yield note("collector token", "FEDTRACK_TOKEN is not set", "a site needs one: fedtrack collect tokens add SITE")


def _judged(name: str, url: str, answer: Answer, variable: str, credentials: str) -> Iterator[Finding]:
    """Yield what an answer says of a backend, and of the two clocks."""
    said = " ".join(answer.text.split())[:160]
    if not answer.status:
        yield action(name, f"{url} gives no answer: {said}", f"start it, or correct {variable}, proxy or firewall")
    elif answer.status in (401, 403):
        yield action(name, f"{url} refuses the credentials of the environment ({answer.status})", credentials)
    elif 300 <= answer.status < 400:
        yield action(name, f"{url} answers with a redirect ({answer.status})", f"name the final address in {variable}")
    elif answer.status >= 400:
        yield action(name, f"{url} answers {answer.status}: {said}", f"look at its log, or correct {variable}")
    else:
        yield ok(name, f"{url} answers")
    if answer.skew is not None and abs(answer.skew) > _MOST_SKEW:
        side = "ahead of" if answer.skew > 0 else "behind"
        found = f"the clock of {url} is {abs(answer.skew):.0f} s {side} this one"
        yield action("clock", found, "set the clock that is wrong: each event has the time of its site")
