"""Ports of machines: listeners at all of them, and who reaches which."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bootstrap.process import Completed
from tests.e2e.rack import Rack

Port = tuple[str, int]  # tcp or udp, and the number

# Answers at each port that nobody else has; what cannot be had is somebody else's.
_LISTEN = r"""
import json, selectors, socket, sys
selector = selectors.DefaultSelector()
for protocol, port in json.loads(sys.argv[1]):
    tcp = protocol == "tcp"
    made = socket.socket(socket.AF_INET6, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        made.bind(("::", port))
    except OSError as error:
        print(protocol, port, error, flush=True)
        continue
    if tcp:
        made.listen()
    selector.register(made, selectors.EVENT_READ, tcp)
print("listening", flush=True)
while True:
    for key, _ in selector.select():
        if key.data:
            key.fileobj.accept()[0].close()
        else:
            key.fileobj.sendto(b"here", key.fileobj.recvfrom(16)[1])
"""
_ASK = r"""
import concurrent.futures, json, socket, sys
source, target, ports = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
def reached(place):
    protocol, port = place
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    for _ in range(2 if protocol == "udp" else 1):
        with socket.socket(family, kind) as asking:
            asking.settimeout(2)
            try:
                if source:
                    asking.bind((source, 0))
                asking.connect(socket.getaddrinfo(target, port, family, kind)[0][4])
                if protocol == "tcp":
                    return True
                asking.send(b"there?")
                return asking.recv(16) == b"here"
            except OSError:
                continue
    return False
with concurrent.futures.ThreadPoolExecutor(100) as pool:
    print(json.dumps([place for place, found in zip(ports, pool.map(reached, ports)) if found]))
"""


@dataclass(frozen=True)
class Ports:
    """Ports to ask about on the machines of a rack."""

    rack: Rack
    all: Sequence[Port]

    def listen(self, name: str) -> None:
        """Listen at all of them on a machine, where nobody does yet."""
        words = f"systemd-run --quiet --collect --unit=listeners python3 -c '{_LISTEN}' '{json.dumps(self.all)}'"
        self.rack.run(name, words)
        said = "journalctl --unit=listeners --output=cat | grep -q ^listening"
        self.rack.run(name, f"for i in $(seq 50); do {said} && exit; sleep 0.2; done; exit 1")

    def from_outside(self, source: str, target: str, by: str = "") -> set[Port]:
        """Return which of them an outsider reaches who has one more address, `source`; `by` names a way to the target.

        That is how an attacker in the network of the machines asks for what is inside of the cluster.
        """
        script = 'ip address add "$1"/32 dev host0; [ -z "$3" ] || ip route add "$2" via "$3"; shift 3; exec "$@"'
        asking: list[str] = [sys.executable, "-c", _ASK, source, target, json.dumps(self.all)]
        return _told(self.rack.outside(["sh", "-c", script, "sh", source, target, by, *asking]))

    def from_machine(self, name: str, target: str) -> set[Port]:
        """Return which of them a machine reaches."""
        words = f"python3 -c '{_ASK}' '' '{target}' '{json.dumps(self.all)}'"
        return {(protocol, port) for protocol, port in json.loads(self.rack.run(name, words))}


def several(protocol: str, numbers: Collection[int]) -> set[Port]:
    """Return ports of one protocol."""
    return {(protocol, number) for number in numbers}


def _told(done: Completed) -> set[Port]:
    assert done.code == 0, done.stderr
    return {(protocol, port) for protocol, port in json.loads(done.stdout.splitlines()[-1])}
