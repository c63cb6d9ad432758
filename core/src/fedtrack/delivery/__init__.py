"""How receivers are fed from a journal: one delivery for each, which retries, sets aside and never gives up."""
