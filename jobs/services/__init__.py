"""What the rest of a project may ask of the jobs. Each module is one subject.

- ``queue``      enqueue one job, or millions
- ``lifecycle``  cancel, retry, hold, release, delete
- ``logs``       read, keep, delete and purge what jobs have written
"""
