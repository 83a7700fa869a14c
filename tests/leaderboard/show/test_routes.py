"""What the server answers without a browser: the page's own routes, and attacks on them."""

import json
import math
import urllib.error
import urllib.request

import pytest


def ask(url, **headers):
    """Return status and headers of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, error.headers


@pytest.mark.parametrize("path", ["", "page.js", "api/studies", "api/trials?study=x2/alpha"])
def test_routes_keep_to_their_host(served, path):
    url = f"{served[0]}/leaderboard/{path}"
    status, headers = ask(url, Origin="https://evil.example")
    assert status == 200
    assert "Access-Control-Allow-Origin" not in headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert ask(url, Host="evil.example")[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "leaderboard/../pyproject.toml",
        "leaderboard/..%2f..%2fmlflow.db",
        "leaderboard/%2e%2e/app.py",
        "leaderboard/app.py",
        "get-artifact?run_uuid={run}&path=../../../mlflow.db",
        "get-artifact?run_uuid={run}&path=/etc/passwd",
        "get-artifact?run_uuid=../..&path=mlflow.db",
    ],
)
def test_paths_stay_within_the_store(served, path):
    address, store, records, _ = served
    run = store.rows(records["alpha"])["run_id"].iloc[0]
    status, _ = ask(f"{address}/{path.format(run=run)}")
    assert status in (400, 404)


def test_asking_for_no_study_gives_none(served):
    with urllib.request.urlopen(f"{served[0]}/leaderboard/api/trials?study=nobody%27%20or%201%3D1") as answer:
        assert json.load(answer)["rows"] == []


def test_what_a_page_is_told_of_a_trial_is_what_was_written(served):
    with urllib.request.urlopen(f"{served[0]}/leaderboard/api/trials?study=x2/alpha") as answer:
        found = json.load(answer)
    rows = [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
    assert [row["psnr_y_db"] for row in rows] == [31.0, 32.0, 31.5, 33.0, 32.5, None]
    assert rows[5]["latency_median_ms"] is None
    counts, _, volumes = zip(*found["curves"]["x2/alpha"], strict=True)
    # Trials 0, 1 and 3 are the front; of them the third is slower than the reference of e ms.
    assert counts == (0, 1, 2, 6)
    assert volumes == pytest.approx((0.0, 1.0, 2 - math.log(2), 2 - math.log(2)))
