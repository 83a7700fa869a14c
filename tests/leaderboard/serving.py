"""``srnas ui`` as a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def serving(folder, *options, **variables):
    """Run ``srnas ui`` until the block ends; yields the address."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-c", "from srnas.nas.cli import main; main()", "ui"]
    command += ["--port", str(port), "--workspace", str(folder), *options]
    with (folder / "ui.log").open("wb") as log:
        server = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **variables})
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            assert server.poll() is None, (folder / "ui.log").read_text()
            time.sleep(0.1)
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
