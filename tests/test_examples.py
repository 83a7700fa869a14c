"""The examples run as they are, only shorter."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from srnas.profiling import count
from srnas.search_space import REGISTRY, build_block
from srnas.search_space.own_blocks import import_folder

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def eca():
    """Register the block of the examples, and take it out again."""
    import_folder(str(EXAMPLES / "blocks"))
    yield REGISTRY.entry("eca")
    REGISTRY.forget(["eca"])
    del REGISTRY.sources["eca"]


@pytest.fixture
def run_example(monkeypatch, capsys):
    """Return a function that runs a script with arguments and returns what it prints."""

    def run(name, *arguments):
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("kernel", [3, 7])
def test_the_block_is_what_its_paper_says(eca, kernel):
    block = build_block("eca", 8, kernel=kernel)
    x = torch.rand(2, 8, 5, 6)
    # source: Wang et al., CVPR 2020, equation 5: a channel is weighed by its neighbours' averages.
    averages = torch.nn.functional.pad(x.mean((2, 3)), (kernel // 2, kernel // 2))
    weights = block.conv.weight.flatten()
    expected = torch.stack([averages[:, i : i + kernel] @ weights for i in range(8)], 1).sigmoid()
    torch.testing.assert_close(block(x), x * expected[:, :, None, None])
    counts = count(block, (1, 8, 5, 6))
    config = eca.Config(kernel=kernel)
    assert (counts.params, counts.macs) == (eca.params(8, config), eca.macs(8, 5, 6, config)) == (kernel, 8 * kernel)


def test_the_page_shows_the_block():
    page = (EXAMPLES.parent / "docs" / "blocks.md").read_text(encoding="utf-8")
    assert f"```python\n{(EXAMPLES / 'blocks' / 'eca.py').read_text(encoding='utf-8')}```" in page


@pytest.mark.usefixtures("brief_latency", "coarse_figures", "few_draws", "copied_stores", "eca")
def test_a_search_with_the_block(run_example, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # EDSR-like is judged first; it alone is the front.
    said = run_example("own_block.py", "--trials", 1, "--iterations", 1, "--workspace", tmp_path)
    assert "psnr_y_db" in said
    assert "x2-c18[4(conv)]" in said


def test_a_search_without_the_block(run_example):
    with pytest.raises(SystemExit, match="block 'eca' must be registered, but it is not; set SRNAS_BLOCKS"):
        run_example("own_block.py")


def test_the_front_of_another_problem(run_example):
    lines = run_example("model_size.py", "--trials", 4, "--epochs", 1).splitlines()
    sizes = [int(line.split()[0].replace(",", "")) for line in lines]
    # 64 pixels, one hidden layer of 4, 10 classes.
    assert sizes == sorted(sizes) and sizes[0] >= 65 * 4 + 5 * 10  # noqa: PT018


@pytest.mark.usefixtures("brief_latency", "coarse_figures", "few_draws", "copied_stores")
def test_the_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    cells = json.loads((EXAMPLES / "first_search.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert "TRIALS, ITERATIONS = 12, 200" in sources[0]
    sources[0] = sources[0].replace("TRIALS, ITERATIONS = 12, 200", "TRIALS, ITERATIONS = 2, 1")
    names = {}
    for number, source in enumerate(sources):
        exec(compile(source, f"cell {number}", "exec"), names)
    said = capsys.readouterr().out
    assert "2 candidates" in said
    assert names["best"].architecture.key in said
