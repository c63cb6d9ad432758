"""What a plugin author imports in tests."""
