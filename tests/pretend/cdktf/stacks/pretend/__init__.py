"""The pretended cloud: machines that Terraform only writes down."""
