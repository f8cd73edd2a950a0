"""Taking over a database whose tables others have made.

- ``variants``   what an app's ``adoption.py`` may say of its tables' past
- ``baselines``  which apps name a baseline, and what its migrations build
- ``shapes``     whether a table can be the baseline's at all
- ``repairs``    differences, and the statements that end them
- ``proofs``     the rows that a statement would stumble over
- ``survey``     the plan: all of it together, for one database
- ``service``    carries a plan out

It knows no table of any app. What an app knows of its own past is data in the app.
"""
