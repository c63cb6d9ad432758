"""``python -m fedtrack.delivery.deliverer``: a supervisor starts it with the descriptors of its channel and page."""

import sys

from fedtrack.delivery.deliverer.process import main

if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]])
