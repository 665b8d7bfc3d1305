"""Optimizers, and which weights they decay."""
