"""What a database is: its objects as plain values.

- ``model``       the values: relations, columns, indexes, constraints, functions ...
- ``inspection``  reads them from a live database, by the SQL of ``queries``
- ``snapshot``    writes them to a file and reads them back
"""
