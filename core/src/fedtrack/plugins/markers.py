"""Markers: the two pluggy markers, in a module that imports nothing else of fedtrack, so that its import is cheap."""

import pluggy

#: Name of the pluggy project and of the entry-point group.
PROJECT = "fedtrack"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
