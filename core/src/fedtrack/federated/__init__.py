"""What is learned and how it is averaged.

Nothing here imports torch: models are numpy arrays on the server and safetensors files between processes.
"""
