"""Models: numpy arrays on the server, safetensors files between processes; torch is never imported here."""
