"""The way back: what this project and Kubernetes have left on a host, and how it is taken away."""
