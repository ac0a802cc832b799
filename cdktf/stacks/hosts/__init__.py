"""The company's own machines, which Terraform writes down: no resource is made, and none is removed."""
