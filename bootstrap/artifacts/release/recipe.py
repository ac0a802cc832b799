"""Write a component's recipe into the checkout: `python -m bootstrap.artifacts.release.recipe COMPONENT VERSION`."""

from __future__ import annotations

import argparse
import re

from bootstrap.artifacts import console
from bootstrap.artifacts.build import Recipe
from bootstrap.artifacts.lock import FILE, Lock, load
from bootstrap.artifacts.release import gomodules
from bootstrap.errors import UsageError
from bootstrap.process import architecture
from bootstrap.progress import Progress


def command(progress: Progress) -> str:
    """Write the recipe named on the command line; return its folder."""
    parser = argparse.ArgumentParser(prog="make recipe COMPONENT=… VERSION=…", description=__doc__)
    parser.add_argument("component", help="as lock.yaml names it")
    parser.add_argument("version", help="such as 1.12.6")
    options = parser.parse_args()
    return recipe(load(), options.component, options.version, progress)


def recipe(lock: Lock, name: str, version: str, progress: Progress) -> str:
    """Write the recipe of a component of the lock file, unless it exists; return what was done, as text.

    Components out of k8s.io/kubernetes get it in the newest version that the lock file has a release of.

    Raises:
        UsageError: the lock file has no such component, or the version is none.
        PreflightError: a module is not served, needs a folder of its repository, or Go failed.
    """
    example = "`make recipe COMPONENT=opentofu VERSION=1.12.6`"
    if name not in lock.components:
        what = f"{name} is no component of the lock file" if name else "the name of the component is missing"
        todo = f"add it to `components` with its `packages`, or name one of {', '.join(lock.components)}: {example}"
        raise UsageError(what, where=str(FILE), todo=todo)
    if not re.fullmatch(r"\d+(?:\.\d+)+", version):
        what = f"{version} is no version of {name}" if version else f"the version of {name} is missing"
        raise UsageError(what, todo=f"name one such as 1.12.6, without a v: {example}")
    found = Recipe(name, version, architecture(), lock.components[name])
    if found.folder.is_dir():
        return f"nothing to write: {found.folder} is there\n"
    own = gomodules.KUBERNETES.rpartition("/")[2]
    kubernetes = version if name == own else max(lock.releases, key=gomodules.numbers)
    gomodules.write(found, kubernetes, progress)
    return f"written: {found.folder}\n"


if __name__ == "__main__":
    console.run(command)
