"""fedtrack finds the plugin and can use it."""

from fedtrack.plugins import State, registry


def test_fedtrack_loads_the_plugin() -> None:
    plugin = {plugin.package: plugin for plugin in registry().plugins}["fedtrack-parquet"]
    assert plugin.state is State.LOADED, plugin.reason
