"""Data sets: published ones, folders and a user's own; their images, caches and batches."""
