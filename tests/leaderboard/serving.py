"""``srnas ui`` as a process of its own."""

import contextlib
import os
import signal
import socket
import time
import urllib.request

import fresh


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def serving(folder, *options, stop=signal.SIGTERM, **variables):
    """Run ``srnas ui`` until the block ends, then send it ``stop``; yields the address."""
    port = free_port()
    (output := folder / "output").mkdir()
    given = ("ui", "--port", str(port), "--workspace", str(folder), *options)
    server = fresh.Started(output, fresh.SRNAS, *given, **variables).process
    try:
        address = f"http://127.0.0.1:{port}"
        # However long a busy machine takes: the test's own limit ends it.
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            assert server.is_alive(), (output / "stderr").read_text()
            time.sleep(0.1)
        yield address
    finally:
        os.kill(server.pid, stop)
        server.join(30)
