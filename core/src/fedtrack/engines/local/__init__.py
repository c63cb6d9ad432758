"""The embedded engine: every site is a process of this machine."""
