"""What is left of a run and what is said about it: its folders, its counts, and the commands that act on them."""
