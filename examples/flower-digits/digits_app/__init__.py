"""Federated digits with Flower and PyTorch, tracked by fedtrack."""
