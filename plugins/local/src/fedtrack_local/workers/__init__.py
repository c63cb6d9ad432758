"""Workers: a few processes that do the work of many sites."""
