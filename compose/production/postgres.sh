#!/usr/bin/env bash
# Runs once, when the primary is made: a role for TMWS that is no superuser, its database, and a role for the replica.
set -euo pipefail

psql -v ON_ERROR_STOP=1 -U postgres \
  -v tmws="$POSTGRES_TMWS_PASSWORD" -v replicator="$POSTGRES_REPLICATION_PASSWORD" <<'SQL'
CREATE ROLE tmws LOGIN PASSWORD :'tmws';
CREATE DATABASE tmws OWNER tmws;
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replicator';
SELECT pg_create_physical_replication_slot('replica');
\c tmws
CREATE EXTENSION vector;
SQL
echo "host replication replicator all scram-sha-256" >> "$PGDATA/pg_hba.conf"
