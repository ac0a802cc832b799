"""AWS: VPC, security groups, network load balancer, EC2 machines."""
