"""A run of migrations: alone on its database, within limits, and on record.

- ``start``        the way in: takes the lock, sets the limits, opens the history
- ``run``          the run itself; ``attempts`` is one try at one migration
- ``executor``     Django's executor, reporting to the run, and its way into the stock ``migrate``
- ``lock``         one run at a time; ``sidecar`` are the sessions beside Django's connection
- ``statements``   what each statement of Django's connection passes through
- ``timeouts``     how long a migration may wait; ``watch`` sees for whom it does
- ``concurrently`` what a failed CREATE INDEX CONCURRENTLY has left in the way
- ``failures``     how a run ends that does not end well; ``origin`` is who ran it, and from where
- ``progress``     what a person sees meanwhile
"""
