"""Decoded images on disk, made once and read by every later run through the page cache."""
