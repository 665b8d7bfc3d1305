"""Images: files and folders of them, decoding, channels, crops, and unreadable files."""
