"""A host that SSH reaches: python ssh_server.py FOLDER ADDRESS; FOLDER has its key and who may come."""

import asyncio
import subprocess
import sys
from pathlib import Path

import asyncssh


class Server(asyncssh.SSHServer):
    """Lets whoever has a key forward ports, both ways."""

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return dest_host == "127.0.0.1"

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        return listen_host == "127.0.0.1"


async def _run(process: "asyncssh.SSHServerProcess[str]") -> None:
    """As sshd does: a shell, which lives on when the connection is lost."""
    with subprocess.Popen(
        ["/bin/sh", "-c", process.command or "true"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    ) as child:  # fmt: skip
        await process.redirect(stdout=child.stdout, stderr=child.stderr)
        process.exit(await asyncio.to_thread(child.wait))


async def main(folder: Path, address: str) -> None:
    server = await asyncssh.listen(
        address, 0, server_host_keys=[folder / "host"], authorized_client_keys=str(folder / "client.pub"),
        server_factory=Server, process_factory=_run,
    )  # fmt: skip
    print(server.get_port(), flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
