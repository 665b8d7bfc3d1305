"""Batches: which images, in which order, on which device."""
