"""stock: an app of somebody else."""
