"""Relay: a workflow of a third party, as the source of a throw-away plugin; the model travels from site to site."""

RELAY = '''
from typing import Annotated

import msgspec
from fedtrack import Workflow, hookimpl
from fedtrack_local import TRAIN, RoundResult, Server, Task


class Relay(Workflow):
    """The model travels from site to site; nothing is averaged."""

    laps: Annotated[int, msgspec.Meta(ge=1)] = 2
    last_site_first: bool = False

    def planned_rounds(self):
        return self.laps

    def execute(self, server: Server) -> None:
        state = server.state.load() or {"lap": 0, "visits": []}
        params = server.initial_params()
        for lap in range(state["lap"], self.laps):
            for site in sorted(server.sites(), reverse=self.last_site_first):
                if [lap, site] in state["visits"]:
                    continue
                (answer,) = server.ask(Task(TRAIN, params, lap, self.laps), [site])
                params = server.models.save(answer.model.params, lap)
                state["visits"].append([lap, site])
                server.state.save(state)
            state["lap"] = lap + 1
            server.state.save(state)
            server.finish_round(RoundResult(lap, {}, tuple(server.sites()), 0.0, 0))


@hookimpl
def fedtrack_workflows():
    return [Relay]
'''
