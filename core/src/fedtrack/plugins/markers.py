"""The two pluggy markers; a leaf module, so that importing it costs a plugin nothing else of fedtrack."""

import pluggy

#: Name of the pluggy project and of the entry-point group.
PROJECT = "fedtrack"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
