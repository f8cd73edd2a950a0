"""The output of jobs, on its way from a process to a file that is kept.

- ``masking``   pure: secret values out of a stream, also across its chunks
- ``lines``     pure: a stream as lines with time and kind
- ``spool``     what a run has written: a local file, and the newest of it in memory
- ``recorder``  a run's streams through all three
- ``store``     files in Django's storage, and their URIs
- ``keeper``    the rows of files and tails, written set-wise by one thread
"""

from __future__ import annotations
