"""The protocol of engines: who has which method, and what one that is missing says."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest

from fedtrack.engine import Engine, EngineCaps, RunHandle
from fedtrack.errors import NotSupported, PluginError
from fedtrack.partial_engine import PartialEngine, open_engine
from support.throwaway import Install

#: Imports nothing of FLARE, so that it can be looked at where FLARE is not installed.
NVFLARE = Path(__file__).parents[2] / "plugins" / "nvflare" / "src" / "fedtrack_nvflare" / "engine.py"

METHODS = sorted(name for name, value in vars(Engine).items() if inspect.isfunction(value) and name[0] != "_")

RUN = RunHandle("cloud", "there", "run-1", "1")
#: How each method is called.
CALLS: dict[str, tuple[Any, ...]] = {
    "caps": (),
    "write_model": ({}, Path("model.safetensors")),
    "run": (Path("job"), Path("ws")),
    "resume": (Path("ws"),),
    "simulate": (None, Path("ws")),
    "check": (Path("job"), "there"),
    "submit": (Path("job"), "there"),
    "status": (RUN,),
    "wait": (RUN,),
    "abort": (RUN,),
    "fetch": (RUN, Path("ws")),
    "drain": (RUN,),
}

#: An engine of a time when the protocol had less: it inherits from nothing, and runs what it can.
OLD = """
from fedtrack import hookimpl

class CloudEngine:
    name = "cloud"
    summary = "Elsewhere."

    def __init__(self):
        self.submitted = []

    def submit(self, job, target, run_id=None):
        self.submitted.append((job, target))
        return run_id

@hookimpl
def fedtrack_engines():
    return [CloudEngine]
"""


def signature(function: Any) -> list[tuple[str, Any, Any]]:
    """Return what callers see: names, kinds and defaults."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def nvflare_engine() -> Any:
    spec = importlib.util.spec_from_file_location("nvflare_engine", NVFLARE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NVFlareEngine


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("engine", ["local", "nvflare", "partial"])
def test_every_engine_has_every_method_with_the_arguments_of_the_protocol(engine: str, method: str) -> None:
    classes = {
        "local": lambda: pytest.importorskip("fedtrack_local.engine").LocalEngine,
        "nvflare": nvflare_engine,
        "partial": lambda: PartialEngine,
    }
    assert signature(getattr(classes[engine](), method)) == signature(getattr(Engine, method))


@pytest.mark.parametrize("method", [name for name in METHODS if name != "close"])
def test_what_an_older_engine_lacks_is_refused_in_one_sentence(install: Install, method: str) -> None:
    install("fedtrack-cloud", OLD)
    engine = open_engine("cloud")
    if method == "submit":
        assert engine.submit(Path("job"), "there", "run-1") == "run-1"  # type: ignore[comparison-overlap]
        return
    with pytest.raises(NotSupported, match=r"^The engine 'cloud' ") as refused:
        getattr(engine, method)(*CALLS[method])
    assert "\n" not in str(refused.value)


def test_an_older_engine_stays_what_it_is(install: Install) -> None:
    install("fedtrack-cloud", OLD)
    engine: Any = open_engine("cloud")
    assert type(engine).__name__ == "CloudEngine"
    assert engine.submitted == []
    engine.close()


def test_caps_that_an_older_engine_writes_leave_what_is_new_out() -> None:
    caps = EngineCaps("cloud", "1", "run", "external", 0, "claimed", "none", False, False, False)
    assert not any((caps.can_run, caps.can_resume, caps.can_simulate, caps.can_drain))


@pytest.mark.parametrize(
    ("method", "capability"),
    [("run", "can_run"), ("resume", "can_resume"), ("simulate", "can_simulate"), ("drain", "can_drain")],
)
def test_an_engine_says_in_its_capabilities_what_it_refuses(method: str, capability: str) -> None:
    engine = pytest.importorskip("fedtrack_local.engine").LocalEngine()
    if getattr(engine.caps(), capability):
        assert getattr(type(engine), method) is not getattr(PartialEngine, method)
        return
    with pytest.raises(NotSupported):
        getattr(engine, method)(*CALLS[method])


@pytest.mark.parametrize("method", ["run", "resume", "simulate"])
def test_an_engine_that_needs_a_target_says_so(method: str) -> None:
    with pytest.raises(NotSupported, match="The engine 'nvflare' "):
        getattr(nvflare_engine()(), method)(*CALLS[method])


def test_an_engine_that_is_no_class_breaks_its_plugin_only(install: Install) -> None:
    install("fedtrack-cloud", OLD.replace("return [CloudEngine]", "return [CloudEngine()]"))
    with pytest.raises(PluginError, match="which is no class"):
        open_engine("cloud")
