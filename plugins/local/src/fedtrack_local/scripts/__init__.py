"""Sites as processes: each site runs a training script in a process of its own."""
