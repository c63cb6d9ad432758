"""The workflows of one machine, and what a workflow can use while it runs."""
