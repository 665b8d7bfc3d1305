"""Single images: files, decoding, crops, and what cannot be read."""
