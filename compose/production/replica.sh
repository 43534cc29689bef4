#!/usr/bin/env bash
# Copies the primary when there is no copy yet, and follows it.
set -euo pipefail

data=/var/lib/postgresql/data
if [[ ! -s $data/PG_VERSION ]]; then
  until pg_basebackup -h postgres -U replicator -D "$data" -X stream -S replica -R; do
    find "$data" -mindepth 1 -delete
    sleep 2
  done
  chmod 700 "$data"
fi
exec postgres -D "$data" -c max_connections=200 -c hot_standby_feedback=on
