"""What the migrations build: by running them where nothing is kept.

- ``scratch``     in a schema of its own, in a transaction that is rolled back
- ``twins``       the migrations as they can run there
- ``rebuild``     in a temporary database, by the process ``rebuilding``
- ``sessions``    connections of one's own, and transactions that cannot be committed
"""
