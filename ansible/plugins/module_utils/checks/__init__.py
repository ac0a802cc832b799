"""The checks of a cluster: functions `look_at_*` ask, pure functions `judge_*` decide. Python 3.9, stdlib only."""
