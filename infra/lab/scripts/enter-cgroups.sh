#!/bin/sh
# Runs a command in cgroups: enter-cgroups.sh CGROUP-FOLDER… -- COMMAND…
while [ "$1" != -- ]; do
    echo $$ >"$1/cgroup.procs"
    shift
done
shift
exec "$@"
