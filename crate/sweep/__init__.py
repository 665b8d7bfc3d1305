"""Sweeps: define, launch, follow and compare many runs. Imports no torch."""
