"""What the rest of a project may ask of the jobs. Each module is one subject.

- ``queue``          enqueue one job, or millions
- ``lifecycle``      cancel, retry, hold, release, delete; ``requeue`` does it for many that failed,
                   ``decisions`` tells in words what was done
- ``schedules``      jobs that are enqueued again and again
- ``inspection``     one job with what belongs to it, and how much there is to do
- ``logs``           read, keep, delete and purge what jobs have written
- ``workers``        let them in, follow them, end them; ``tokens`` is what lets them in
- ``providers``      what starts workers, and which of them has room
- ``orchestration``  lease a job to a worker for a saga, and take it back
- ``audit``          what happened, and who did it
- ``retention``      delete what is old enough
"""
