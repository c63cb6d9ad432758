"""Diagnosis: what ``fedtrack doctor`` looks at, one module for each part of the surroundings."""
