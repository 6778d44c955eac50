"""The agent called: an interpreter of its own, watched and ended when it is late, which harms nothing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nanonap.base.errors import NanonapError
from nanonap.base.terminal import command
from patcher.answers import decode, encode
from patcher.live.agent import Done, Request
from patcher.live.errors import AgentFailed, NotPermitted
from patcher.live.process import why_not

_PATIENCE_S = 60.0  # beyond all tries of the agent's together, on a busy machine
_START = "from patcher.live.agent import main; main()"


def call(request: Request) -> Done:
    """Have the agent do what is asked. Raises what it refuses, or AgentFailed where it ends without an answer."""
    document = json.dumps(encode(replace(request, parent=os.getpid()))).encode()
    with _agent() as agent:
        try:
            text, _ = agent.communicate(document, timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise AgentFailed(_failed(request.pid, "took too long and was ended")) from error
    if not text:
        raise AgentFailed(_failed(request.pid, "ended early"))
    answer = json.loads(text)
    if "denied" in answer:
        raise NotPermitted(why_not(request.pid))
    if "error" in answer:
        kinds = {each.__name__: each for each in _subclasses(NanonapError)}
        raise kinds[answer["error"]](answer["message"], parameters=tuple(answer.get("parameters", ())))
    return decode(Done, answer["done"])


@contextlib.contextmanager
def _agent() -> Iterator[subprocess.Popen[bytes]]:
    """The agent, in a session of its own: Ctrl-C is for the command. It does not outlive the block."""
    paths = [each or str(Path.cwd()) for each in sys.path]
    agent = subprocess.Popen(
        [sys.executable, "-P", "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
    )
    try:
        yield agent
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if agent.poll() is None:
                os.killpg(agent.pid, signal.SIGKILL)
        agent.wait()
        for each in (agent.stdin, agent.stdout):
            if each is not None:
                each.close()


def _failed(pid: int, how: str) -> str:
    return (
        f"process {pid}: what holds it {how}; it runs on, whole, as `{command('status', str(pid))}` says: give the "
        "command again"
    )


def _subclasses(kind: type[NanonapError]) -> Iterator[type[NanonapError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)
