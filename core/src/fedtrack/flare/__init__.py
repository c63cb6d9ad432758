"""What exists only for users of NVIDIA FLARE: the move of their scripts and jobs."""
