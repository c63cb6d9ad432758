"""Models: numpy arrays on the server, safetensors files between processes, and never torch."""
