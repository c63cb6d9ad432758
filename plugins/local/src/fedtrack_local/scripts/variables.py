"""Variables: the environment variables that make a process part of a site, or a peer in distributed training.

The module imports nothing, because the fork server is started before anything else is imported.
"""

#: The path of the site's spec, a file that only this user can read.
SPEC_VARIABLE = "FEDTRACK_SITE_SPEC"

#: Set by torchrun and accelerate, Open MPI, and MPICH or Intel MPI: (rank, number of ranks).
RANK_VARIABLES = (("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"))

#: Lightning sets only these for the processes that it starts itself.
LOCAL_RANK_VARIABLES = ("LOCAL_RANK", "NODE_RANK")

#: What the sites of a run do not inherit from a launcher that started the run, or from a site whose script did.
NOT_INHERITED = frozenset(
    {name for pair in RANK_VARIABLES for name in pair}
    | {*LOCAL_RANK_VARIABLES, "LOCAL_WORLD_SIZE", "GROUP_RANK", SPEC_VARIABLE, "FEDTRACK_CLIENT_BACKEND"}
)
