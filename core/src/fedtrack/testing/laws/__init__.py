"""The laws of a receiver, grouped by subject; ``fedtrack.testing.ReceiverContract`` has all of them."""
