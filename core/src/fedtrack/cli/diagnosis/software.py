"""Software: Python, the packages and their tested versions, the plugins, and the log call."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import Distribution, distributions
from platform import python_implementation, python_version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from fedtrack.cli.diagnosis.finding import Finding, action, note, ok
from fedtrack.cli.log_calls import log_calls
from fedtrack.plugins import remedy
from fedtrack.plugins.metadata import Package, package_of

_EXTRA = re.compile(r"extra == [\"']([^\"']+)")
_CLASSIFIER = "Programming Language :: Python :: 3."


def software() -> Iterator[Finding]:
    """Yield what was found of the software in this environment."""
    yield _python(_tested_pythons(Distribution.from_name(remedy.CORE)))
    installed = {str(canonicalize_name(package.name)): package for package in _installed()}
    yield from packages(installed)
    yield from _plugins()
    found = log_calls()
    yield note("log call", found.how, found.remedy) if found.remedy else ok("log call", found.how)


def packages(installed: dict[str, Package]) -> Iterator[Finding]:
    """Yield each distribution of fedtrack and of its plugins, with the requirements that are not met.

    Args:
        installed: What is installed, by its normalised name.
    """
    for name, package in sorted(installed.items()):
        if name == remedy.CORE or any(_is_core(text) for text in package.requires):
            problems = list(_problems(package, installed))
            yield from problems or [ok(package.name, _with_versions(package, installed))]


def _problems(package: Package, installed: dict[str, Package]) -> Iterator[Finding]:
    for text in package.requires:
        try:
            needed = Requirement(text)
        except InvalidRequirement:
            continue
        other = installed.get(canonicalize_name(needed.name))
        always = needed.marker is None or needed.marker.evaluate({"extra": ""})
        if other is None:
            # What an extra brings is needed only by whoever has asked for the extra, and nothing says who has.
            if always:
                wanted = f"{needed.name}{needed.specifier}"
                yield action(package.name, f"{wanted} is not installed", remedy.install(wanted))
        elif not _contains(needed, other.version) and (always or _asks_here(needed)):
            yield action(
                package.name,
                f"{other.name} {other.version} is installed; tested are {needed.name}{needed.specifier}",
                remedy.install(f"{needed.name}{needed.specifier}"),
            )


def _asks_here(needed: Requirement) -> bool:
    """Return whether a requirement of an extra for users is meant for this Python and system."""
    extras = _EXTRA.findall(str(needed.marker))
    marker = needed.marker
    return marker is not None and any(marker.evaluate({"extra": extra}) for extra in extras if extra != "dev")


def _with_versions(package: Package, installed: dict[str, Package]) -> str:
    """Return the version of a distribution and those of what it uses."""
    names = []
    for text in package.requires:
        with suppress(InvalidRequirement):
            needed = Requirement(text)
            other = installed.get(canonicalize_name(needed.name))
            if other is not None and needed.specifier and (needed.marker is None or _asks_here(needed)):
                names.append(f"{other.name} {other.version}")
    return f"{package.version} (with {', '.join(dict.fromkeys(names))})" if names else package.version


def _contains(needed: Requirement, version: str) -> bool:
    try:
        return needed.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True  # nothing is known of it


def _is_core(text: str) -> bool:
    try:
        return canonicalize_name(Requirement(text).name) == remedy.CORE
    except InvalidRequirement:
        return False


def _installed() -> Iterator[Package]:
    seen: set[str] = set()
    for distribution in distributions():
        package = package_of(distribution)
        name = canonicalize_name(package.name)
        if name and name not in seen:  # the first on the path is the one that is imported
            seen.add(name)
            yield package


def _tested_pythons(core: Distribution) -> list[int]:
    classifiers = core.metadata.get_all("Classifier") or []
    return sorted(int(text.removeprefix(_CLASSIFIER)) for text in classifiers if text.startswith(_CLASSIFIER))


def _python(tested: Iterable[int], minor: int = sys.version_info.minor) -> Finding:
    minors = list(tested)
    shown = f"{python_implementation()} {python_version()} ({sys.executable})"
    if not minors or minor in minors:
        return ok("Python", shown)
    return note("Python", f"{shown}; tested are 3.{minors[0]} to 3.{minors[-1]}", "use a tested version if it fails")


def _plugins() -> Iterator[Finding]:
    from fedtrack.plugins import State, registry

    found = registry()
    for plugin in found.plugins:
        name = f"plugin {plugin.name}"
        if plugin.state is State.LOADED:
            yield ok(name, f"{plugin.package} {plugin.version}: loaded")
        elif plugin.state is State.DISABLED:
            yield note(name, f"disabled: {plugin.reason}", plugin.remedy)
        else:
            repair = plugin.remedy or f"mend it, or remove it: {remedy.uninstall(plugin.package)}"
            yield action(name, f"{plugin.state.value}: {plugin.reason}", repair)
    for name, cls in sorted(found.receivers.items()):
        state, reason = found.state_of(cls)
        if state is not State.LOADED:
            # A site that only logs needs none of them.
            yield note(f"receiver {name}", f"{state.value}: {reason}", f"where it is used: {found.remedy_of(cls)}")
