"""A new release of Kubernetes: what the lock file, the recipes and the list of the kubelet's fields need for it.

`python -m bootstrap.artifacts.release 1.37.2` (`make release VERSION=1.37.2`) writes it into the checkout, where it is
reviewed as a diff. What is there already is kept, so that a second run changes nothing.
"""
