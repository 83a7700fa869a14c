"""A workspace: what it says of itself."""

from pathlib import Path

from srnas.nas.workspace.workspace import Workspace


def test_the_store_is_said_where_it_is(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = Workspace(Path("my runs"))
    assert place.shown_store == "my runs/mlflow.db (browse it: srnas ui --workspace 'my runs')"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:1")
    assert place.shown_store == "the store that MLFLOW_TRACKING_URI names"
