"""Begin an environment file from an inventory of Kubespray's.

It writes environments/NAME.yaml for new clusters on the inventory's machines, and prints what of the inventory has no
counterpart. It adopts no running cluster: machines that are nodes of one have to be reset before the first apply.
Templates are not evaluated, and secrets are not read.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from bootstrap.config import loader
from bootstrap.config.problems import InvalidEnvironmentError
from bootstrap.errors import RefusedError, UsageError
from bootstrap.files import write_atomically
from bootstrap.platforms.hosts.block import Endpoint, OwnMachine
from infra.commands import Beginning, add_yes, answer
from infra.kubespray import inventory, takeover
from infra.kubespray.machines import fits
from infra.kubespray.takeover import Taken
from infra.request import Options

_RESET = """\
This file describes a new cluster on these machines. It does not adopt a running cluster of Kubespray's: machines that
are nodes of one have to be reset first, which deletes that cluster (Kubespray: ansible-playbook -b reset.yml). An apply
refuses a machine that is still a node of another cluster."""


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add the inventory, what it may lack, and `--yes`."""
    parser.add_argument(
        "--from-kubespray",
        metavar="PATH",
        type=Path,
        required=True,
        help="an inventory (hosts.yaml, inventory.ini), or its folder, with group_vars beside it",
    )
    parser.add_argument(
        "--virtual-address", metavar="ADDRESS", help="free address for the API, where the inventory has none"
    )
    add_yes(parser)


def run(asked: Options, options: Namespace) -> None:
    """Write the file, and print what it lacks.

    A file with faults is written all the same: most faults are of the inventory, such as an address that two hosts
    have, and to mend a line is less work than to begin anew. No cluster comes of it before it is mended, because every
    command checks the file first.

    Raises:
        RefusedError: there is such a file already.
        UsageError: the name or the address is none.
        ConfigurationError: the inventory cannot be read, or the file that it gives has faults.
    """
    file = loader.place(asked.given)
    if file.exists() and not asked.assume_yes:
        todo = "name another environment, or add --yes (make … YES=1) to overwrite the file"
        raise RefusedError("there is such an environment file already", where=str(file), todo=todo)
    _refuse_odd(file, options.virtual_address)
    path: Path = options.from_kubespray.expanduser()
    beside_schema = file.absolute().parent == loader.ENVIRONMENTS
    taken = takeover.take(
        inventory.read(path),
        file.stem,
        takeover.shown_origin(path),
        virtual=options.virtual_address,
        schema=beside_schema,
    )
    write_atomically(file, taken.text)
    try:
        loader.load(str(file.absolute()))
    except InvalidEnvironmentError:
        answer("\n".join(_told(file, taken, "it has faults, which are listed at the end")))
        raise
    next_step = f"Next: read it, then make plan ENV={asked.quoted}"
    answer("\n".join([*_told(file, taken, "it is valid"), "", next_step]))


def _refuse_odd(file: Path, virtual: str | None) -> None:
    """Refuse what the command line says, where no file could say it.

    Raises:
        UsageError: the name is none of an environment, or the address is none.
    """
    if not fits(OwnMachine, name=file.stem):
        todo = "choose a name of up to 32 lower-case letters, digits and dashes"
        raise UsageError(f"{file.stem!a} is no name of an environment", todo=todo)
    if virtual is not None and not fits(Endpoint, virtual_address=virtual):
        todo = "write an IPv4 address of the machines' network that is free, such as 10.20.0.10"
        raise UsageError(f"--virtual-address {virtual!a} is no address", todo=todo)


def _told(file: Path, taken: Taken, state: str) -> Iterator[str]:
    counts = ", ".join(f"{count} in {pool}" for pool, count in taken.machines.items())
    here = file.absolute()
    shown = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else file
    yield f"written: {shown}: {state}; machines: {counts}"
    yield ""
    yield "not taken over as it stands:" if taken.notes else "all of the inventory is taken over"
    yield from map(str, taken.notes)
    if taken.workings:
        yield f"- Kubespray's own workings, nothing to do: {', '.join(taken.workings)}"
    yield ""
    yield _RESET


COMMAND = Beginning(run, add_options)
