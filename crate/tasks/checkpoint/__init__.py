"""The checkpoint that a task reads: the file, and the configuration that it brings along."""
