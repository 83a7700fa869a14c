"""Does a study survive its board? A workstation and a board in two network namespaces; the agent dies, the link breaks.

A study of ``--trials`` candidates is timed on the board. The agent runs in an environment that holds numpy and
onnxruntime only, listens with a token, and is killed and started again twice; the link is cut once, for ``--cut-s``
seconds. Afterwards every trial must be there, complete, and timed on the board. Namespaces need root; without it, or
with ``--loopback``, both are one and no link is cut, which is said.

    python benchmarks/target_survival.py [--trials 12] [--cut-s 20] [--loopback] [-- OPTIONS OF srnas search]
"""

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from srnas.nas.cli.boundary import told_errors
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling.agent.bundle import script

NAME, STUDY = f"srnas{os.getpid()}", "survival"
HERE, THERE = "10.77.0.1", "10.77.0.2"
_POLL_S = 0.2


def bare_environment(folder: Path) -> Path:
    """Return the Python of an environment that holds numpy and onnxruntime and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = (folder / "lib").glob("*/site-packages")
    for name in ("numpy", "onnxruntime"):
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.origin
        found = Path(spec.origin).parent
        for part in (found, found.with_name(f"{name}.libs")):
            if part.is_dir():
                (packages / part.name).symlink_to(part)
    return folder / "bin" / "python"


def ip(*arguments: str) -> None:
    """Run ``ip``."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def namespace(wanted: bool) -> Iterator[bool]:
    """Make a namespace with a link to here; yield whether there is one."""
    link, end = f"{NAME}a"[-15:], f"{NAME}b"[-15:]
    made = False
    if wanted:
        try:
            ip("netns", "add", NAME)
            made = True
            ip("link", "add", link, "type", "veth", "peer", "name", end)
            ip("link", "set", end, "netns", NAME)
            ip("addr", "add", f"{HERE}/24", "dev", link)
            ip("link", "set", link, "up")
            for command in (("addr", "add", f"{THERE}/24", "dev", end), ("link", "set", end, "up")):
                ip("-n", NAME, *command)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no namespaces, so that no link is cut: {getattr(error, 'stderr', b'') or error}")
            if made:
                ip("netns", "del", NAME)
            made = False
    try:
        yield made
    finally:
        if made:
            ip("netns", "del", NAME)


class Board:
    """The board's agent, which dies and comes back."""

    def __init__(self, folder: Path, *, is_apart: bool) -> None:
        self.is_apart, self.port = is_apart, 17788
        (folder / "token").write_text("s3cret")
        (folder / "agent.py").write_text(script())
        host = THERE if is_apart else "127.0.0.1"
        self.url = f"http://{host}:{self.port}"
        inside = ["ip", "netns", "exec", NAME] if is_apart else []
        python = bare_environment(folder / "venv")
        command = [python, folder / "agent.py", "--host", host, "--port", self.port, "--token-file", folder / "token"]
        self.command = [*inside, *map(str, command)]
        self.log = (folder / "agent.log").open("w")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the agent."""
        self.process = subprocess.Popen(self.command, stderr=self.log, start_new_session=True)

    def kill(self) -> None:
        """Kill the agent and what measures for it."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """Kill the agent, and start it again."""
        self.kill()
        self.start()

    def cut(self, seconds: float) -> None:
        """Cut the link for a time."""
        ip("link", "set", f"{NAME}a"[-15:], "down")
        time.sleep(seconds)
        ip("link", "set", f"{NAME}a"[-15:], "up")


def judged(workspace: Path) -> int:
    """Return how many trials have ended."""
    url = Workspace(workspace).study_url(STUDY)
    stored = StoredStudy.find(url, STUDY)
    return len(stored.snapshot().records) if stored else 0


def survive(board: Board, folder: Path, trials: int, cut_s: float, options: Sequence[str]) -> bool:
    """Run the study, disturb it, and print what became of it; return whether nothing was lost."""
    workspace = folder / "runs"
    os.environ["SRNAS_TARGETS"] = str(folder / "targets.json")
    srnas = [sys.executable, "-c", "from srnas.nas.cli import main; main()"]
    board.start()
    adding = [*srnas, "target", "add", "board", board.url, "--token-file", str(folder / "token")]
    deadline = time.monotonic() + 60
    while subprocess.run(adding, capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            raise SystemExit("the agent does not answer")
        time.sleep(_POLL_S)
    where = ["--target", "board", "--runtime", "onnxruntime", "--workspace", str(workspace), "--study", STUDY]
    search = [*srnas, "search", *where, "--device", "cpu", "--trials", str(trials), *options]
    disturbances = [("the agent is killed", board.restart), ("the agent is killed", board.restart)]
    if board.is_apart:
        disturbances.insert(1, ("the link is cut", lambda: board.cut(cut_s)))
    at = [round((number + 1) * trials / (len(disturbances) + 1)) for number in range(len(disturbances))]
    notes = folder / "notes"
    with notes.open("w") as file:
        running = subprocess.Popen(search, stdout=subprocess.DEVNULL, stderr=file)
    while running.poll() is None:
        if at and judged(workspace) >= at[0]:
            what, disturb = disturbances.pop(0)
            print(f"after {at.pop(0)} trials {what}")
            disturb()
        time.sleep(_POLL_S)
    if running.wait():
        print(notes.read_text())
    url = Workspace(workspace).study_url(STUDY)
    stored = StoredStudy.find(url, STUDY)
    records = stored.snapshot().records if stored else ()
    timed = [record.latency for record in records if record.latency]
    ended = {state: sum(record.state == state for record in records) for state in ("complete", "stopped", "failed")}
    disturbed = sum(bool({"disturbed", "invalid"} & set(latency.flags)) for latency in timed)
    print(f"{len(records)} of {trials} trials, {json.dumps(ended)}, {len(timed)} timed, {disturbed} of them flagged")
    if disturbances and not running.returncode:
        raise SystemExit(f"the search must outlast the disturbances, but {len(disturbances)} were left when it ended.")
    return len(records) == len(timed) == trials == ended["complete"] + ended["stopped"]


def main() -> None:
    """Disturb a study and say whether it survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--cut-s", type=float, default=20.0)
    parser.add_argument("--loopback", action="store_true", help="no namespaces")
    parser.add_argument("options", nargs="*", help="options of srnas search, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, namespace(not given.loopback) as is_apart:
        board = Board(Path(name), is_apart=is_apart)
        try:
            survived = survive(board, Path(name), given.trials, given.cut_s, given.options)
        finally:
            with contextlib.suppress(ProcessLookupError, AssertionError):
                board.kill()
            board.log.close()
    print("nothing was lost" if survived else "something was lost")
    sys.exit(not survived)


if __name__ == "__main__":
    with told_errors("target_survival.py"):
        main()
