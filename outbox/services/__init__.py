"""What the rest of a project may ask of the outbox. Each module is one subject.

- ``publish``       store events, in the caller's transaction
- ``inbox``         act once on an event that may come twice
- ``dead_letters``  requeue, resolve, discard what could not be delivered
- ``inspection``    how much waits, for how long, and why
- ``retention``     delete what was published long ago
"""
