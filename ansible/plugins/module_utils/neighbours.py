"""Traffic between hosts that are no nodes yet: each listens where a node would, and asks the others."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .system.commands import CommandError, run
from .system.paths import HOST
from .system.wait import attempts

_UNIT = "kube-pipeline-neighbours.service"
_LONGEST = 120  # seconds that a listener outlives a run that was killed
_AT_ONCE = 64
_HEADERS = 28  # bytes of IP and UDP around a datagram's content
_SECONDS, _PAUSE, _ANSWER = 1.5, 0.2, 0.3  # for one port; between two attempts; for one answer
# Linux' own numbers, which Python's socket does not name: no fragments, whatever is known of the way.
_MTU_DISCOVER, _PROBE = 10, 3
_ECHO = """
import contextlib, selectors, socket, sys
address, *ports = sys.argv[1:]
waiting = selectors.DefaultSelector()
for port in ports:
    kind, number = port.split("/")
    listener = socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    with contextlib.suppress(OSError):
        if kind == "tcp":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, int(number)))
        if kind == "tcp":
            listener.listen(128)
        waiting.register(listener, selectors.EVENT_READ, kind)
while True:
    for key, _ in waiting.select():
        with contextlib.suppress(OSError):
            if key.data == "udp":
                said, peer = key.fileobj.recvfrom(65535)
                key.fileobj.sendto(said[:1], peer)
            else:
                key.fileobj.accept()[0].close()
"""


@dataclass(frozen=True)
class Peer:
    """Another host, with the ports of it that this one is to reach, such as `udp/8472`."""

    name: str
    address: str
    ports: tuple[str, ...]


def listen(address: str, ports: Sequence[str]) -> list[str]:
    """Listen at `ports`, if there are any, until `end`; return those that another program has.

    Raises:
        CommandError: systemd does not start it.
    """
    end()
    if not ports:
        return []
    taken = [port for port in ports if not _free(address, port)]
    limit = ["--collect", f"--property=RuntimeMaxSec={_LONGEST}"]
    free = [port for port in ports if port not in taken]
    run(["systemd-run", "--quiet", f"--unit={_UNIT}", *limit, sys.executable, "-c", _ECHO, address, *free])
    return taken


def end() -> None:
    """Listen no more."""
    try:
        run(["systemctl", "stop", _UNIT])
    except CommandError:  # it is not there
        return


def ask(own: str, interface: str, peers: Sequence[Peer]) -> list[str]:
    """Ask all peers at all their ports; return a sentence for each thing that does not get through."""
    if not peers:
        return []
    mtu = int((HOST.sys / "class/net" / interface / "mtu").read_text(encoding="ascii"))
    questions = [(peer, port) for peer in peers for port in peer.ports]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda question: _reaches(own, question[0].address, question[1], mtu), questions))
    return list(_told(questions, answers, mtu))


def _told(questions: Sequence[tuple[Peer, str]], answers: Sequence[str], mtu: int) -> Iterator[str]:
    silent: dict[str, list[str]] = {}
    narrow: dict[str, None] = {}
    for (peer, port), answer in zip(questions, answers):
        who = f"{peer.name} ({peer.address})"
        if answer == "silent":
            silent.setdefault(who, []).append(port)
        elif answer == "narrow":
            narrow[who] = None
    alike: dict[str, list[str]] = {}
    for who, ports in silent.items():
        alike.setdefault(", ".join(ports), []).append(who)
    for closed, whom in alike.items():
        yield (
            f"{closed} of {', '.join(whom)} is not reached from here: let all nodes reach each other's ports, in the"
            " firewalls of both and in each between them (a cloud's security groups, a router's or switch's rules)"
        )
    if narrow:
        yield (
            f"packets of {mtu} bytes, which is the MTU here, do not get to {', '.join(narrow)}, and short ones do:"
            " give the interfaces of all hosts, and all between them, the same MTU (`ip link` tells), else large"
            " packets of Pods are lost"
        )


def _reaches(own: str, address: str, port: str, mtu: int) -> str:
    """Return what became of a question: nothing to tell, `silent`, or `narrow` where only short ones get through."""
    kind, number = port.split("/")
    place = (address, int(number))
    if kind == "tcp":
        return "" if any(_accepts(place) for _ in attempts(_SECONDS, pause=_PAUSE)) else "silent"
    if not any(_echoes(own, place, 1) for _ in attempts(_SECONDS, pause=_PAUSE)):
        return "silent"
    return "" if any(_echoes(own, place, mtu - _HEADERS) for _ in attempts(_SECONDS, pause=_PAUSE)) else "narrow"


def _accepts(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, _SECONDS / 2).close()
    except OSError:
        return False
    return True


def _echoes(own: str, place: tuple[str, int], size: int) -> bool:
    """Tell whether a datagram of this many bytes is answered; it goes whole, or not at all."""
    with socket.socket(type=socket.SOCK_DGRAM) as question:
        question.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _PROBE)
        question.settimeout(_ANSWER)
        try:
            question.bind((own, 0))
            question.connect(place)
            question.send(b"?" * size)
            return bool(question.recv(16))
        except OSError:
            return False


def _free(address: str, port: str) -> bool:
    kind, number = port.split("/")
    with socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as probe:
        if kind == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, int(number)))
        except OSError:
            return False
    return True


def peers(told: Mapping[str, Mapping[str, Any]]) -> list[Peer]:
    """Read the module's option of this name."""
    return [Peer(name, item["address"], tuple(item["ports"])) for name, item in told.items()]
