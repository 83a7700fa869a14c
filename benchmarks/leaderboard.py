"""The leaderboard with 5,000 trials in 20 studies: the page in Chromium, the command, reading beside MLflow's search.

Usage: python benchmarks/leaderboard.py [--studies 20] [--trials 250] [--repeats 3]

Needs playwright and Chromium. The trials are made up: architectures of the space ``mobile``, latency and PSNR from a
formula. One study is written as a search writes it, the others are copies of its rows in the database.
"""

import argparse
import contextlib
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import ViewType
from playwright.sync_api import sync_playwright
from sqlalchemy import create_engine, text

from srnas.leaderboard.record.studies import StudyRecord
from srnas.leaderboard.record.trials import Quality, Sizes, TrialRecord
from srnas.leaderboard.store.store import Store
from srnas.nas.cli.boundary import told_errors
from srnas.profiling import Latency, Target, describe_device
from srnas.search_space import SearchSpace

_SEED = 0
_SORTED = ("psnr_y_db", "latency_fastest_ms", "macs_g", "study", "rank")
# Returns the milliseconds until the table is laid out again.
_SORT = """key => {
  const start = performance.now();
  document.querySelector(`th[data-key=${key}] button`).click();
  document.body.offsetHeight;
  return performance.now() - start;
}"""


def _trials(number: int) -> Iterator[TrialRecord]:
    rng, space = random.Random(_SEED), SearchSpace.load("mobile", 2)
    for index in range(number):
        architecture = space.sample(rng)
        fastest = 2 + 3 * len(architecture.positions) * rng.lognormvariate(0, 0.4)
        psnr = 31 + 0.6 * (fastest / 10) ** 0.5 + rng.gauss(0, 0.2)
        rounds = tuple(fastest * (1 + 0.05 * rng.random()) for _ in range(16))
        yield TrialRecord(
            study="study00",
            number=index,
            state="complete" if rng.random() < 0.6 else "stopped",
            architecture=architecture,
            protocol="made-up",
            validation="held-out",
            sizes=Sizes(
                input_shape=(1, 3, 64, 64), params=10**5, macs=int(1e7 * fastest), other_ops=0, activations=10**6
            ),
            latency=Latency(
                median_ms=statistics.median(rounds),
                low_ms=min(rounds),
                high_ms=max(rounds),
                fastest_ms=min(rounds),
                reference_ratio=1.0,
                first_call_ms=1.0,
                rounds_ms=rounds,
                reference_rounds_ms=(1.0,) * 16,
                flags=(),
            ),
            quality=Quality(
                images=("a", "b"), psnr_y_db=(psnr, psnr), ssim_y=(0.9, 0.9), mean_psnr_y_db=psnr, mean_ssim_y=0.9
            ),
            train_s=1.0,
            started_ms=999_000 + 1000 * index,
            ended_ms=1_000_000 + 1000 * index,
        )


def _fill(folder: Path, studies: int, trials: int) -> Store:
    store = Store(folder)
    record = StudyRecord(
        name="study00",
        scale=2,
        config={"training.iterations": 100},
        validation="held-out",
        bicubic_psnr_y_db=30.0,
        bicubic_ssim_y=0.9,
        device=describe_device(Target()),
        reference_psnr_y_db=30.0,
        reference_fastest_ms=100.0,
    )
    parent = store.open_study(record)
    for trial in _trials(trials):
        store.write_trial(parent, record, trial)
    store.close_study(parent, {}, ())
    with create_engine(store.uri).begin() as connection:
        for index in range(1, studies):
            name = f"study{index:02d}"
            for table in ("runs", "tags", "metrics", "latest_metrics", "params"):
                columns = [row[1] for row in connection.execute(text(f"pragma table_info({table})"))]
                run = "substr(run_uuid, 1, 30) || :suffix"
                value = f"replace(value, 'study00', '{name}')" if table == "tags" else "value"
                chosen = ", ".join({"run_uuid": run, "value": value}.get(column, column) for column in columns)
                names = ", ".join(columns)
                where = "run_uuid in (select run_uuid from tags where key = 'srnas.study' and value = 'study00')"
                statement = text(f"insert into {table} ({names}) select {chosen} from {table} where {where}")
                # No id of MLflow's ends so.
                connection.execute(statement, {"suffix": f"z{chr(96 + index)}"})
    return store


def _timed(work: Callable[[], object], repeats: int) -> float:
    """Return the median of so many calls, in seconds."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def _report_reading(store: Store, repeats: int) -> None:
    studies = store.studies()
    client, experiments = MlflowClient(tracking_uri=store.uri), store.experiments()

    def search() -> None:
        token, runs = None, 0
        while True:
            page = client.search_runs(experiments, "", ViewType.ACTIVE_ONLY, 1000, page_token=token)
            runs, token = runs + len(page), page.token
            if not token:
                return

    ours, theirs = _timed(lambda: store.rows_of(studies), repeats), _timed(search, repeats)
    print(f"reading {len(store.rows_of(studies))} trials: {ours:.2f} s; MLflow's search_runs: {theirs:.2f} s")
    print(f"ratio {theirs / ours:.1f}")


def _report_command(folder: Path, repeats: int) -> None:
    libraries = "import mlflow, torch, pandas, rich.table, typer, plotext, pydantic, scipy.stats"
    command = "from srnas.nas.cli import main; main()"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def call(code: str, *arguments: str) -> float:
        command = [sys.executable, "-c", code, *arguments]
        return _timed(lambda: subprocess.run(command, check=True, **quiet), repeats)  # type: ignore[call-overload]

    whole, imports = call(command, "leaderboard", "--workspace", str(folder)), call(libraries)
    print(f"srnas leaderboard: {whole:.2f} s, of which its libraries take {imports:.2f} s to import")
    print(f"of its own: {whole - imports:.2f} s (goal: under 2 s)")


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from srnas.nas.cli import main; main()", "ui", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--workspace", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            if server.poll() is not None:
                raise SystemExit(f"the page's server must run, but it ended with exit code {server.returncode}.")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health").close()
                break
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()


def _report_page(address: str, repeats: int) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        loads, drawn = [], []
        for _ in range(repeats + 1):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.goto(f"{address}/leaderboard/", wait_until="commit")
            page.wait_for_selector("html[data-ready]")
            loads.append(page.evaluate("performance.getEntriesByName('ready')[0].startTime") / 1e3)
            page.wait_for_selector("#front .scatterlayer .point")
            drawn.append(page.evaluate("performance.now()") / 1e3)
        print(f"page: {page.inner_text('#trials caption')}")
        print(f"interactive after {statistics.median(loads):.2f} s (goal: under 2 s), the first time {loads[0]:.2f} s")
        print(f"chart drawn after {statistics.median(drawn):.2f} s")
        sorts = [page.evaluate(_SORT, key) for key in _SORTED * 2]
        print(f"sorting: median {statistics.median(sorts):.0f} ms, slowest {max(sorts):.0f} ms (goal: under 100 ms)")
        browser.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--trials", type=int, default=250, help="of each study")
    parser.add_argument("--repeats", type=int, default=3, help="of what is timed; the page is loaded once more")
    options = parser.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as folder:
        store = _fill(Path(folder), options.studies, options.trials)
        _report_reading(store, options.repeats)
        _report_command(Path(folder), options.repeats)
        with _serving(Path(folder)) as address:
            _report_page(address, options.repeats)


if __name__ == "__main__":
    with told_errors("leaderboard.py"):
        main()
