"""Sites as tasks of a worker: a few processes do the work of many sites."""
