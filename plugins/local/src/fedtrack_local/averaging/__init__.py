"""How the sites' results become one model; the order of the sites decides, not that of their arrival."""
