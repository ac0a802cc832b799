"""Adds a release of Kubernetes to the lock file, the recipes and the list of the kubelet's fields.

`make release VERSION=1.37.2` (`python -m bootstrap.artifacts.release 1.37.2`) writes into the checkout; the result is
reviewed as a diff. Existing entries and recipes are kept, so a second run changes nothing.
"""
