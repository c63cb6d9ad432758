"""Errands: what other processes ask of a node that delivers, such as a replay while the run goes on."""
