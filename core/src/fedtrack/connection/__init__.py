"""Connection: tracks a training that no engine of fedtrack runs: ``fedtrack.connect()``, and the agent that ships.

::

    training:  connect() -> writers -> spool        one write per log call, as in a job
    agent:     spool -> HTTPS -> collector          a process of its own, which outlives the training
"""
