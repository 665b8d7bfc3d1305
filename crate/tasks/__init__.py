"""What `launch.py` can do with one configuration: a module for each task, and what tasks share.

`registry` holds the table of tasks, which no task imports: a new row changes no result.
"""
