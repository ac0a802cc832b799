"""The parts that go onto the machines: which (the lock file), from where (cache, download, build), and how."""
