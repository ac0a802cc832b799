"""The base of the node side: paths, programs, files, waiting, services. It imports nothing from outside itself."""
