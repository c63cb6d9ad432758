"""The processes of a run: the fork server that has imported torch, and the pool that the server sees."""
