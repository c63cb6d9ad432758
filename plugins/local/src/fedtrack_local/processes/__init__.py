"""The processes of a run: the fork server, which has imported torch, and the pool, the server's view of the sites."""
