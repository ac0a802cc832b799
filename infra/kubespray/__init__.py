"""From an inventory of Kubespray's to an environment file for new clusters on the same machines.

`inventory` reads it; `machines`, `network`, `cluster` and `kubelet` say what becomes of its variables; `takeover` puts
the parts together, and `document` writes them. Nothing here executes what stands in an inventory.
"""
