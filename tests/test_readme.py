"""What the README shows of Python runs as it stands there."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.usefixtures("brief_latency")
def test_the_python_section_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    section = README.read_text(encoding="utf-8").partition("## From Python\n")[2].partition("\n## ")[0]
    snippets = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(snippets) == 4
    names = {}
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), names)
    said = capsys.readouterr().out
    assert "0 complete" in said
    assert "latency_fastest_ms" in said
    assert re.search(r"tiny-x2 (Front of \d|No candidate)", said)
    assert len({tuple(trial.params.values()) for trial in names["study"].trials}) == 20
    assert 0 < names["measured"].latencies["mine"].fastest_ms <= names["measured"].latencies["mine"].median_ms
    outcome = names["outcome"]
    assert sorted(outcome.board.rows["trial"]) == [0, 1]
