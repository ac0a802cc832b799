"""The approver of the kubelets' serving certificates. Control planes run it, with `system`, by a timer."""
