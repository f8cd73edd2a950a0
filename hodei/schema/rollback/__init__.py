"""The way back: what it would undo and take along, told before, and then done or refused.

- ``targets``    pure: which migrations a wish undoes, and in which order
- ``releases``   the same for a recorded release, from the history
- ``choice``     the wish against what is on disk and in the database
- ``statements`` the SQL of the way back, and the rules of its guards
- ``losses``     from the SQL to the tables, columns and rows that would go
- ``counting``   how many of them
- ``preview``    all of that in one value; it reads only, and keeps nobody waiting
- ``guards``     pure: the reasons to refuse
- ``witness``    what really went, before it is committed
- ``executor``   Django's way back in our order, in one transaction where that can be
- ``service``    the use case
"""
