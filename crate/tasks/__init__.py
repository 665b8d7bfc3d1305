"""What `launch.py` can do with one configuration: a task a module."""
