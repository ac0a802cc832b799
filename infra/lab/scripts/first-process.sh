#!/bin/sh
# Process 1 of the daemon's process namespace: it reaps orphans, which the daemon does not know, and ends with it.
"$@"
exit $? # a last command would take this shell's place
