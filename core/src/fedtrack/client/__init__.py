"""What a training script imports: ``import fedtrack.client as flare``."""
