"""Configuration, contract, Terraform, inventory, Ansible, reports: everything between the file and the cluster."""
