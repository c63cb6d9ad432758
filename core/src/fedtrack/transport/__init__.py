"""How a site's spool reaches a journal: over the same disk, or over any channel that carries bytes and answers.

The forwarder is the transport of one machine. Shipper and intake are the two ends of every other one, and wire is what
they say to each other.
"""
