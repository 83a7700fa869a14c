"""``srnas ui``: the page behind MLflow's own authentication, and what is said where it is not."""

import base64
import json
import signal
import socket
import urllib.error
import urllib.request

import pytest
from handmade import study, trial
from serving import serving

from srnas.leaderboard.store.store import Store

PASSWORD = "a-long-password"


def ask(url, user=None, password=PASSWORD, body=None, method=None):
    """Return status and text of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.slow
def test_the_page_obeys_mlflow(workspace):
    store, record = Store(workspace), study()
    store.write_trial(store.open_study(record), record, trial(0, 31.0))
    (experiment,) = store.experiments()
    (workspace / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = sqlite:////elsewhere/users.db\n"
    )
    with serving(workspace, "--auth", MLFLOW_AUTH_ADMIN_PASSWORD=PASSWORD) as address:
        page, studies = f"{address}/leaderboard/", f"{address}/leaderboard/api/studies"
        for url in (page, studies, f"{page}page.js", f"{page}api/trials?study=x2/demo"):
            assert ask(url)[0] == 401
            assert ask(url, "admin", "a-wrong-password")[0] == 401
            assert ask(url, "admin")[0] == 200
        users = f"{address}/api/2.0/mlflow/users/create"
        assert ask(users, "admin", body={"username": "reader", "password": PASSWORD})[0] == 200
        assert ask(page, "reader")[0] == 200
        assert json.loads(ask(studies, "reader")[1])["studies"] == []
        assert json.loads(ask(f"{page}api/trials?study=x2/demo", "reader")[1])["rows"] == []
        grant = {"username": "reader", "resource_type": "experiment", "resource_id": experiment, "permission": "READ"}
        assert ask(f"{address}/api/3.0/mlflow/users/permissions/grant", "admin", body=grant)[0] == 200
        assert [one["name"] for one in json.loads(ask(studies, "reader")[1])["studies"]] == ["demo"]
        assert len(json.loads(ask(f"{page}api/trials?study=x2/demo", "reader")[1])["rows"]) == 1


@pytest.mark.parametrize("password", ["", "short"])
def test_the_first_user_needs_a_password(run, workspace, monkeypatch, password):
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", password)
    code, _, said = run("ui", "--auth", "--workspace", workspace)
    assert code == 2
    assert "MLFLOW_AUTH_ADMIN_PASSWORD must hold a password" in said
    assert not (workspace / "auth.ini").exists()


def test_a_terminal_that_closes_stops_the_server(tmp_path):
    with serving(tmp_path, stop=signal.SIGHUP) as address:
        pass
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{address}/health", timeout=5)


def test_serving_others_without_a_password_is_warned_of(run, workspace, monkeypatch):
    class Ended:
        def __init__(self, command, **_):
            assert command[command.index("--host") + 1] == "0.0.0.0"

        def poll(self):
            return 0

        def wait(self):
            return 0

    monkeypatch.setattr("subprocess.Popen", Ended)
    _, _, said = run("ui", "--host", "0.0.0.0", "--workspace", workspace)
    assert "warning: anyone who can reach 0.0.0.0:5000 can read, change and delete every result; --auth" in said


def test_a_port_in_use_is_said(run, workspace):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, said = run("ui", "--port", port, "--workspace", workspace)
    assert code == 2
    assert f"port {port} must be free, but something answers there; give another --port" in said


def test_a_tracking_server_is_not_served_again(run, workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    code, _, said = run("ui", "--workspace", workspace)
    assert code == 2
    assert "must be a database to be served from here" in said
