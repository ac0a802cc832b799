"""The base of the node side: paths, programs, files, waiting, services. It imports no other package."""
