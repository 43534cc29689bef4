"""The owner of a database on this machine: where it is written down, and how others find, greet and start it.

One process owns a database; everything else on the machine talks to it. Only the standard library is imported here, and
little of it: an agent terminal starts with it.
"""
