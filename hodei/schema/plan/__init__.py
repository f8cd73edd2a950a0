"""What ``migrate`` would do, told before it does it: the SQL, its locks, and what that may cost.

- ``tokens``      pure: a script as statements, a statement as words
- ``locks``       pure: the lock levels, and what each keeps others from
- ``statements``  pure: what a statement does to which table, and under which lock
- ``alterations`` pure: the same for the many forms of ALTER TABLE
- ``rows``        pure: the same for what reads and writes rows
- ``types``       pure: whether a change of a column's type rewrites the table or loses something
- ``session``     a connection that can only read
- ``relations``   what the database knows of the tables: rows, size, columns, constraints
- ``hazards``     from the two above to warnings
- ``sql``         the statements of an operation, forward or on the way back
- ``collection``  the migrations, their operations and their SQL
- ``lint``        squawk's opinion, where it is installed

Nothing here writes: it reads through a connection of its own, whose transactions are read-only.
"""
