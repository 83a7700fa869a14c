"""``srnas blocks``, ``networks`` and ``space``; and a block of one's own, in one file."""

import json
import os
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path

import fresh
import pytest
from typer.testing import CliRunner

from srnas.nas.cli import app
from srnas.search_space import PUBLISHED, REGISTRY, InputError, SearchSpace, space_names

GOLDEN = Path(os.environ.get("SRNAS_GOLDEN", Path(__file__).parents[3].parent / "shared" / "golden"))
COUNTS = GOLDEN / "counts.json"
EVERY_BLOCK = [info.name for info in REGISTRY.infos()]


def run(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", EVERY_BLOCK)
def test_every_block_is_explained_and_drawn(name, tmp_path):
    svg = tmp_path / "deep" / "block.svg"
    facts = json.loads(run("blocks", name, "--channels", 24, "--size", "20x16", "--svg", svg, "--json"))
    assert facts["paper"].count("https://") == 1
    assert facts["graph"][0] == {"module": "", "operator": "input", "inputs": [], "shape": [24, 16, 20]}
    if facts["role"] != "tail":
        assert facts["graph"][-1]["shape"] == [24, 16, 20]
        assert facts["params"] == REGISTRY.block(name).params(24)
        assert facts["params_formula"]
        assert facts["macs_formula"]
    drawn = ElementTree.parse(svg).getroot()
    assert drawn.tag.endswith("svg")
    texts = "".join(drawn.itertext())
    assert f"block {name}, 24 x 16 x 20" in texts
    assert f": {name}" in texts


def test_an_explanation_in_words(tmp_path):
    text = run("blocks", "lia", "--workspace", tmp_path)
    for part in (
        "x * upsample(sigmoid(importance(x))) * sigmoid(x[:, 0])",
        "10 C f + 9 f^2 + 2 f + C  =  10,064 at C=48",
        "constraints input at least 7x7\n",
        "tiling      changes its result",
        "https://arxiv.org/abs/2409.13435",
        "conv 3x3, 16 to 16, stride 2",
        "upsample_bilinear2d 64x64",
    ):
        assert part in text
    assert (tmp_path / "figures" / "block-lia.svg").is_file()
    assert "Operators when deployed" not in text
    assert "at C=48, 128x64" in run("blocks", "lia", "--size", "128x64", "--workspace", tmp_path)
    options = run("blocks", "psa_parallel", "--workspace", tmp_path)
    assert "spatial_softmax=query (or product, value), " in options


def test_a_block_that_folds_shows_both_forms(tmp_path):
    text = run("blocks", "repmb", "--workspace", tmp_path, "--channels", 8)
    _, _, deployed = text.partition("Operators when deployed")
    assert deployed.count("conv 3x3, 8 to 8") == 2
    assert "sigmoid" not in deployed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["blocks", "liaa"], "unknown block 'liaa'. Did you mean 'lia'?"),
        (["blocks", "mlka", "--channels", "32"], "channels must be a multiple of 3"),
        (["blocks", "lia", "--size", "9x6"], "width and height must be at least 7 for block 'lia', but got 9x6"),
        (["profile", "block", "pixelshuffle"], "'pixelshuffle' is a tail"),
        (["networks", "plainusr_z"], "unknown network 'plainusr_z'. Did you mean"),
        (["networks", "--scale", "5"], "scale must be one of 2, 3, 4"),
        (["space", "show", "tinny"], "unknown space 'tinny'. Did you mean 'tiny'"),
        (["space", "show", "tiny", "--scale", "9"], "scale must be one of 2, 3, 4"),
    ],
)
def test_bad_input(arguments, message, tmp_path):
    with pytest.raises(InputError) as error:
        CliRunner().invoke(app, [*arguments], catch_exceptions=False, env={"SRNAS_WORKSPACE": str(tmp_path)})
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


def test_an_unwritable_drawing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must be writable"):
        run("blocks", "se", "--svg", tmp_path / "file" / "block.svg")


def test_networks_as_json_equal_the_counts():
    rows = json.loads(run("networks", "plainusr_u", "a2n_m", "man_tiny", "--json"))
    assert [(row["network"], row["scale"]) for row in rows] == [
        (name, scale) for name in ("plainusr_u", "a2n_m", "man_tiny") for scale in (2, 3, 4)
    ]
    if not COUNTS.is_file():
        pytest.skip(f"no counts '{COUNTS}'")
    for row in rows:
        expected = json.loads(COUNTS.read_text())["networks"][f"{row['network']}_x{row['scale']}"]
        sizes = {(size["lr_height"], size["lr_width"]): size for size in [row, *row["other_sizes"]]}
        assert row["params"] == expected["params"]
        assert sizes[256, 256]["macs"] == expected["macs_lr256x256"]
        for size in expected["macs_output1280x720"]:
            assert sizes[size["lr_h"], size["lr_w"]]["macs"] == size["macs"]
        if "train_form" in expected:
            assert row["train_params"] == expected["train_form"]["params"]
            assert sizes[256, 256]["train_macs"] == expected["train_form"]["macs_lr256x256"]


def test_networks_as_a_table():
    text = run("networks", "plainusr_s", "--scale", 4)
    for cell in ("plainusr_s", "x4", "320x180", "68,612", "3.68", "18.1", "243,153"):
        assert cell in text


def test_spaces():
    rows = json.loads(run("space", "list", "--json"))
    assert [row["space"] for row in rows] == space_names()
    assert "plainusr_u" not in run("space", "list")
    [facts] = json.loads(run("space", "show", "plainusr", "--scale", 3, "--json"))
    assert facts["networks"] == SearchSpace.load("plainusr", 3).size
    assert list(facts["designs"]) == [name for name in PUBLISHED if name.startswith("plainusr")]
    text = run("space", "show", "tiny")
    for part in (
        "1,425,347,364 distinct networks at x2",
        "up to 6",
        "12, 18, 24",
        "lia(features=4)",
        "EDSR-like",
        "patch=24",
    ):
        assert part in text


BLOCK = '''
"""Halving: everything times one half, after a 1x1 convolution.

Reference: none, an example (https://example.org).
"""

import torch
from torch import nn

from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(BlockInfo(name="halving", role="attention", paper="Example, https://example.org"))
class Halving(Block):
    """``conv1x1(x) / 2``, shape kept."""

    def __init__(self, channels: int, config: BlockConfig = BlockConfig()) -> None:
        super().__init__(channels, config)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Halve ``x``, ``(B, C, H, W)``."""
        return self.conv(x) / 2

    @classmethod
    def params(cls, channels: int, config: BlockConfig = BlockConfig()) -> int:
        """``C^2 + C``."""
        return channels**2 + channels

    @classmethod
    def macs(cls, channels: int, height: int, width: int, config: BlockConfig = BlockConfig()) -> int:
        """``C^2 H W``."""
        return channels**2 * height * width
'''


TRUNK = """
from torch import nn

from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo, Constraint


@REGISTRY.register(BlockInfo(name="seventh", role="trunk", paper="Example", constraint=Constraint(8, 8)))
class Seventh(Block):
    def __init__(self, channels, config=BlockConfig()):
        super().__init__(channels, config)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return self.conv(x - x.mean())[:, ::1] + self.conv(x)[..., ::2, :].amax()
"""


@pytest.fixture
def srnas(tmp_path):
    """Return a function that runs the command with a folder of own blocks."""
    (tmp_path / "own").mkdir()
    return partial(fresh.srnas, tmp_path, SRNAS_BLOCKS=str(tmp_path / "own"), SRNAS_WORKSPACE=str(tmp_path / "ws"))


@pytest.mark.slow
def test_a_block_is_one_file(srnas, tmp_path):
    """One file in a folder, and the block is in the space, the counts and the tables."""
    (tmp_path / "own" / "lia.py").write_text(BLOCK)
    assert "halving" in [row["block"] for row in json.loads(srnas("blocks", "--json").stdout)]
    [space] = json.loads(srnas("space", "show", "full", "--json").stdout)
    assert "halving" in space["choices"]["attention"]
    explained = json.loads(srnas("blocks", "halving", "--channels", "12", "--size", "8x9", "--json").stdout)
    assert (explained["params"], explained["macs"]) == (156, 12 * 12 * 72)
    given = ("profile", "block", "halving", "--channels", "12", "--size", "8x9", "--max-time-s", "0", "--json")
    [profiled] = json.loads(srnas(*given).stdout)
    assert profiled["macs"] == 12 * 12 * 72
    assert profiled["counters_agree"]


@pytest.mark.slow
def test_a_trunk_with_a_constraint_is_one_file_too(srnas, tmp_path):
    (tmp_path / "own" / "seventh.py").write_text(TRUNK)
    [space] = json.loads(srnas("space", "show", "full", "--json").stdout)
    assert "seventh" in space["choices"]["trunk"]
    done = srnas("blocks", "seventh")
    assert done.returncode == 0, done.stderr
    assert "slice H[0::2]" in done.stdout
    assert "runs in     untried" in done.stdout
    assert "Return the closed form" not in done.stdout
    code = (
        "import random; from srnas.search_space import SearchSpace; space = SearchSpace.load('full', 2)\n"
        "seen = [space.sample(random.Random(seed)) for seed in range(60)]\n"
        "assert any(p.trunk.name == 'seventh' for a in seen for p in a.positions)\n"
    )
    assert fresh.python(tmp_path, code, SRNAS_BLOCKS=str(tmp_path / "own")).returncode == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "SRNAS_BLOCKS must name folders of block files"),
        ("class:", "a file of blocks must register them, but SyntaxError"),
        (BLOCK.replace('name="halving"', 'name="lia"'), "block names must be unique, but 'lia' is already registered"),
        (BLOCK.replace("return self.conv(x) / 2", "return self.conv(x)[:, 1:]"), "'halving' must keep the shape"),
    ],
    ids=["no folder", "no Python", "a taken name", "another shape"],
)
def test_what_is_wrong_with_own_blocks_is_said(srnas, tmp_path, content, message):
    if content is None:
        (tmp_path / "own").rmdir()
    else:
        (tmp_path / "own" / "mine.py").write_text(content)
    done = srnas("blocks")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
