"""messages: an app of Flower's message API."""
