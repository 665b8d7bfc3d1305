"""What a sweep keeps on disk: its folder, its manifest and its frozen points."""
