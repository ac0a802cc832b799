"""The checks of a cluster: pure judgements of what was seen, and the thin code that looks. Python 3.9, stdlib only."""
