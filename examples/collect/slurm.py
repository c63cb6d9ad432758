"""Jobs of Slurm by submitit, each of which is a site of one run.

    python slurm.py            on this machine, without Slurm
    python slurm.py slurm      as an array of jobs

A Slurm step ends every process that it has started, the agent as well. So the job waits in ``finish`` until the
collector has everything. What is left then lies in the outbox: set FEDTRACK_OUTBOX to a folder on a disk that outlives
the job, and ``fedtrack agent`` on the login node sends it.
"""

import sys

import submitit

import fedtrack


def train(site: str, rate: float) -> int:
    """Train as one site, and return the number of events that have not arrived."""
    run = fedtrack.connect(site=site)  # FEDTRACK_URL, FEDTRACK_RUN and FEDTRACK_TOKEN come with the job's environment
    run.log_params({"rate": rate})
    for step in range(100):
        run.log({"loss": 1 / (1 + rate * step)}, step=step)
    return run.finish(timeout=120).left


def main() -> None:
    """Submit three jobs, and wait for them."""
    executor = submitit.AutoExecutor("slurm-logs", cluster=sys.argv[1] if len(sys.argv) > 1 else "local")
    executor.update_parameters(timeout_min=5)
    rates = {"hospital-a": 0.1, "hospital-b": 0.2, "hospital-c": 0.4}
    jobs = [executor.submit(train, site, rate) for site, rate in rates.items()]
    print("events that have not arrived:", sum(job.result() for job in jobs))


if __name__ == "__main__":
    main()
