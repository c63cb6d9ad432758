"""The network that the sites train; put your own ``torch.nn.Module`` here."""

from fedtrack_examples.simple_network import SimpleNetwork

__all__ = ["SimpleNetwork"]
