"""The approver of the kubelets' serving certificates. Control planes run it by a timer, with `records` and `system`."""
