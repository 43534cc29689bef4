"""Which partitions of memories_v2 have no wall: the policies of the table do not count for who names a partition."""

UNWALLED = """
    SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
    WHERE inhparent = to_regclass('memories_v2') AND NOT (
        relrowsecurity AND relforcerowsecurity
        AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'whole')
        AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND polname <> 'whole' AND polpermissive)
    )
    ORDER BY 1
"""
"""Partitions without row-level security, without what a backup reads by, or with a policy that opens them to others."""
