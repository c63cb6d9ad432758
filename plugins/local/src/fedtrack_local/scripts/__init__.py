"""Sites as processes: each runs a training script of its own."""
