"""A store that is damaged is put aside, with what lies beside it, and nothing else is."""

from srnas.leaderboard.store.repair import set_damaged_aside
from srnas.leaderboard.store.store import Store


def test_a_sound_or_missing_store_is_left(workspace, tmp_path):
    assert Store.exists(workspace)
    assert set_damaged_aside(workspace) is None
    assert set_damaged_aside(tmp_path) is None
    assert (workspace / "mlflow.db").is_file()


def test_a_damaged_store_is_kept_beside(workspace):
    path = workspace / "mlflow.db"
    whole = path.read_bytes()
    # The schema, of which every page is told, is overwritten.
    torn = whole[:100] + bytes(len(whole) - 100)
    for number, content in enumerate((torn, b"no database", b""), start=1):
        path.write_bytes(content)
        (workspace / "mlflow.db-journal").write_bytes(b"")
        aside = set_damaged_aside(workspace)
        assert aside == workspace / f"mlflow.db.damaged{number}"
        assert aside.read_bytes() == content
        assert (workspace / f"mlflow.db.damaged{number}-journal").is_file()
        assert not path.exists()
        assert not (workspace / "mlflow.db-journal").exists()


def test_with_a_server_the_file_does_not_matter(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    (workspace / "mlflow.db").write_bytes(b"no database")
    assert set_damaged_aside(workspace) is None
