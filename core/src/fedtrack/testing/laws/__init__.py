"""The laws of a receiver, grouped by what they are about; ``fedtrack.testing.ReceiverContract`` has them all."""
