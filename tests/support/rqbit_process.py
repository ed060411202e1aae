"""A librqbit session in a process of its own: one JSON request per line, one answer per line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pyrqbit

if TYPE_CHECKING:
    from collections.abc import Callable


def serve(folder: str, port: int) -> None:
    """Answer until standard input ends."""
    session = pyrqbit.Session(output_folder=folder, listen_port=port, disable_dht=True)
    handles: dict[int, Any] = {}

    def add(source: str, folder: str) -> dict[str, Any]:
        handle = session.add_torrent(source, output_folder=folder, overwrite=True)
        handles[handle.id] = handle
        return {"number": handle.id}

    def stats(number: int) -> dict[str, Any]:
        found: dict[str, Any] = handles[number].stats()
        return found

    def remove(number: int) -> dict[str, Any]:
        del handles[number]
        session.delete_torrent(number, delete_files=False)
        return {}

    commands: dict[str, Callable[..., dict[str, Any]]] = {
        "hello": dict,
        "add": add,
        "stats": stats,
        "remove": remove,
    }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = commands[request.pop("do")](**request)
        except (RuntimeError, ValueError, OSError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
