"""The emergency: the schema of some apps dropped and built again, in one transaction.

- ``choice``      which apps
- ``making``      which app has made what, by a replay
- ``belongings``  what is theirs in the database, and what of others depends on it
- ``survey``      all of that before anything is touched, and every reason not to begin
- ``guards``      the right to begin, and what has to hold until the end
- ``building``    the migrations, replayed in the transaction
- ``service``     the way through all of it
"""
