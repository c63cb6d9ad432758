"""Code for users of NVIDIA FLARE alone: the migration of their scripts and jobs."""
