"""Averaging: the sites' results become one model. They are added in the order of the sites, not of their arrival."""
