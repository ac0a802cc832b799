#!/bin/sh
# Runs a command in this network namespace with a link to a bridge of the host:
# linked.sh HOST-PROCESS BRIDGE HOST-DEVICE ADDRESS/LENGTH COMMAND…
set -e
ip link add host0 type veth peer name "$3" netns "$1"
nsenter --target "$1" --net ip link set "$3" master "$2" up
ip address add "$4" dev host0
ip link set host0 up
shift 4
"$@"
ip link delete host0
