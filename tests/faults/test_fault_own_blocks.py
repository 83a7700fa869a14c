"""Blocks of a user's own: what they must be is said with file and line, and results know their source."""

import contextlib
import json
import os

import pytest

from srnas.nas.judging.observer import Observer
from srnas.nas.run.launch import launch
from srnas.nas.study.stored import StoredStudy
from srnas.nas.workspace.own_sources import check_key, check_sources
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling.parts import parts
from srnas.search_space import REGISTRY, Architecture, InputError
from srnas.search_space.own_blocks import import_folder, import_own

HEAD = """import torch
from torch import nn
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(BlockInfo(name="mine", role="attention", paper="Example"))
class Mine(Block):
    def __init__(self, channels, config=BlockConfig()):
        super().__init__(channels, config)
        self.conv = nn.Conv2d(channels, channels, 1)
        self.last = None

    def forward(self, x):
        {forward}
"""
STEM = """from torch import nn
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(BlockInfo(name="mine", role="trunk", paper="Example"))
class Mine(Block):
    widens = True

    def __init__(self, channels, config=BlockConfig(), in_channels=None):
        super().__init__(channels, config)
        self.conv = nn.Conv2d(in_channels or channels, channels, 1)

    def forward(self, x):
        return {factor} * self.conv(x)
"""
TAIL = """from srnas.search_space.registry import REGISTRY, BlockInfo, Constraint, Tail


@REGISTRY.register(BlockInfo(name="mine", role="tail", paper="Example", constraint=Constraint(channels_multiple=4)))
class Mine(Tail):
    pass
"""
GOOD, OTHER = "return self.conv(x)", "return self.conv(x) / 2"
LINE = 14


def write(folder, forward, name="mine.py"):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(HEAD.format(forward=forward))
    return path


@contextlib.contextmanager
def registered(folder):
    """Register the blocks of a folder, and take them out again."""
    before = {info.name for info in REGISTRY.infos()}
    import_folder(str(folder))
    try:
        yield
    finally:
        own = [info.name for info in REGISTRY.infos() if info.name not in before]
        REGISTRY.forget(own)
        for name in own:
            del REGISTRY.sources[name]


def architecture():
    return Architecture.from_dict(
        {"scale": 2, "channels": 6, "positions": [{"trunk": "conv", "attention": "mine"}], "schema": 1}
    )


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        ("return self.conv(x).half()", "must keep the dtype of its input, but makes torch.float16 of torch.float32"),
        ("return self.conv(x).double()", "must keep the dtype of its input, but makes torch.float64 of torch.float32"),
        ("return self.conv(x.float()).float()", "but RuntimeError: Input type (float) and bias type (double)"),
        ("return self.conv(x)[:, 1:]", "must keep the shape of its input"),
        ("return self.conv(x)[..., : x.shape[-1] // 2 * 2]", "must keep the shape of its input"),
        ("return self.conv(x).cpu()", "NotImplementedError"),
        ("return torch.zeros(x.shape)", "must keep the device of its input, but its output is on cpu"),
        ("return self.conv(x), x", "must give a tensor, but gives tuple"),
        ("return self.conv(x + undefined)", "NameError: name 'undefined' is not defined"),
        ("return self.conv(x) + torch.rand(1)", "Tensor on device cpu is not on the expected device meta"),
        ("return self.conv(x) + torch.rand_like(x)", "must hold no state in eval mode"),
        (
            "last, self.last = self.last, x; return x if last is None or last.shape != x.shape else last",
            "must hold no state in eval mode",
        ),
        ("self.conv.bias.data.add_(1); return self.conv(x)", "must hold no state in eval mode"),
        ("return self.conv(x.detach().numpy() and x)", "Error"),
        ("x += 1; return self.conv(x)", "must leave its input as it is, but changes it"),
        ("return torch.ones_like(x)", "RuntimeError: element 0 of tensors does not require grad"),
    ],
)
def test_what_a_block_must_not_do_is_said_with_file_and_line(tmp_path, forward, message):
    before = REGISTRY.infos()
    path = write(tmp_path, forward)
    with pytest.raises(InputError) as caught:
        import_folder(str(tmp_path))
    said = str(caught.value)
    assert message in said
    assert said.startswith(f"'{path}'")
    assert REGISTRY.infos() == before
    assert REGISTRY.sources == {}


@pytest.mark.parametrize(
    ("forward", "line"), [("return self.conv(x + undefined)", LINE), ("return self.conv(x)[:, 1:]", LINE - 1)]
)
def test_the_line_is_that_of_the_fault(tmp_path, forward, line):
    path = write(tmp_path, forward)
    with pytest.raises(InputError, match="mine") as caught:
        import_folder(str(tmp_path))
    assert str(caught.value).startswith(f"'{path}', line {line}: ")


def test_one_bad_file_registers_nothing_of_its_folder(tmp_path):
    write(tmp_path, GOOD)
    (tmp_path / "other.py").write_text("class:\n")
    with pytest.raises(InputError, match=r"other.py', line 1: a file of blocks must register them, but SyntaxError"):
        import_folder(str(tmp_path))
    assert "mine" not in [info.name for info in REGISTRY.infos()]


def test_what_a_block_prints_is_not_in_the_output(run, tmp_path, capsys):
    path = write(tmp_path, "print('running'); return self.conv(x)")
    path.write_text("print('importing')\n" + path.read_text())
    with registered(tmp_path):
        assert capsys.readouterr().out == ""
        code, out, err = run("blocks", "mine", "--channels", 6, "--svg", tmp_path / "x.svg", "--json")
        assert code == 0, err
        assert json.loads(out)["params"] == 42
        assert "running" in err


def test_an_error_in_a_block_that_runs_names_its_line(run, tmp_path, monkeypatch):
    path = write(tmp_path, "return self.conv(x if x.shape[1] < 20 else x.undefined)")
    monkeypatch.setenv("SRNAS_BLOCKS", str(tmp_path))
    with registered(tmp_path):
        code, _, err = run("blocks", "mine", "--channels", 24, "--svg", tmp_path / "x.svg")
    assert code == 2
    assert f"'{path}', line {LINE}: a block must run on every input that its constraint allows, but AttributeErr" in err


def test_the_key_knows_the_source_of_a_block_and_of_what_it_uses(tmp_path):
    keys, table_keys, keys_of_before = [], [], set()
    write(tmp_path, GOOD)
    for change in (None, OTHER, "helper", GOOD):
        if change == "helper":
            (tmp_path / "deep").mkdir()
            (tmp_path / "deep" / "helper.py").write_text("x = 1\n")
        elif change:
            write(tmp_path, change)
        with registered(tmp_path):
            keys.append(architecture().key)
            table_keys.append([part.key for part in parts(architecture()) if "mine" in part.key])
            keys_of_before.add(architecture().key_of_before)
    assert len(set(keys)) == len(set(map(tuple, table_keys))) == 4
    assert len(keys_of_before) == 1
    # A file of another block, from which it takes nothing, says nothing about it.
    with registered(tmp_path):
        before = architecture().key
    write(tmp_path, OTHER.replace("mine", "more"), "more.py").write_text(
        HEAD.format(forward=GOOD).replace('"mine"', '"more"')
    )
    with registered(tmp_path):
        assert architecture().key == before


def test_networks_of_the_package_keep_their_keys():
    plain = Architecture.from_dict({"scale": 2, "channels": 6, "positions": [{"trunk": "conv"}]})
    assert plain.sources == {}
    assert plain.key == plain.key_of_before


def test_a_network_is_not_built_of_other_code_than_it_was_trained_with(tmp_path):
    write(tmp_path, GOOD)
    with registered(tmp_path):
        before = architecture()
        config, key = {"blocks.mine": before.sources["mine"]}, before.key
        check_sources(before, config, "trial 1 of 's'")
        check_key(before, key)
        check_key(before, before.key_of_before)
    write(tmp_path, OTHER)
    with registered(tmp_path):
        with pytest.raises(InputError, match="block 'mine' must be as it was when trial 1 of 's' was trained"):
            check_sources(architecture(), config, "trial 1 of 's'")
        with pytest.raises(InputError, match="'mine' was changed since: it is another network now"):
            check_key(architecture(), key)


@pytest.mark.usefixtures("brief_latency")
def test_an_edited_block_is_trained_anew_and_its_study_is_not_gone_on_with(
    run, search_request, tmp_path, unchanged, few_draws
):
    own, space = tmp_path / "own", tmp_path / "own.toml"
    space.write_text(
        'channels = [6]\npositions = 1\ntrunk = ["conv"]\nattention = ["mine"]\n'
        "[defaults]\nlatency_output = [32, 32]\npatch = 8\nbatch = 2\niterations = 2\n"
    )
    asked = search_request.changed(space=str(space), trials=1, study="first")
    write(own, GOOD)
    with registered(own):
        [first] = launch(asked, Observer()).records
        [again] = launch(asked.changed(study="again"), Observer()).records
    assert (first.reused, again.reused) == (False, True)
    write(own, "return self.conv(x) * 30")
    with registered(own):
        with unchanged(asked.workspace), pytest.raises(InputError, match=r"other settings \(blocks.mine: "):
            launch(asked.changed(trials=2), Observer())
        [other] = launch(asked.changed(study="other"), Observer()).records
        assert not other.reused
        assert other.protocol != first.protocol
        assert other.quality.mean_psnr_y_db != first.quality.mean_psnr_y_db
        judged = ("--data", search_request.validation, "--workspace", asked.workspace)
        code, _, err = run("evaluate", "--trial", first.number, "--study", "first", *judged)
        assert (code, "block 'mine' must be as it was when trial" in err) == (2, True)
        assert run("evaluate", "--trial", other.number, "--study", "other", *judged)[0] == 0
    # What was trained with the block as it was is still there.
    write(own, GOOD)
    with registered(own):
        assert run("evaluate", "--trial", first.number, "--study", "first", *judged)[0] == 0
        url = Workspace(asked.workspace).study_url("first")
        assert StoredStudy.find(url, "first").snapshot().records[0].quality == first.quality


def test_the_key_knows_the_source_of_a_stem(tmp_path):
    keys, table_keys = set(), set()
    path = tmp_path / "mine.py"
    for factor in (1, 2):
        path.write_text(STEM.format(factor=factor))
        with registered(tmp_path):
            made = Architecture.from_dict({"scale": 2, "channels": 6, "stem": "mine"})
            assert made.sources.keys() == {"mine"}
            keys.add(made.key)
            table_keys.add(parts(made)[0].key)
    assert len(keys) == len(table_keys) == 2


def test_a_tail_must_take_every_width(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TAIL)
    with pytest.raises(InputError, match="a tail must take every width and size, but .mine. has a constraint"):
        import_folder(str(tmp_path))


def test_a_relative_folder_is_blamed_by_line_and_counts_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "own", "return self.conv(x + undefined)")
    monkeypatch.setenv("SRNAS_BLOCKS", f"own{os.pathsep}own/")
    with pytest.raises(InputError, match=f"own/mine.py', line {LINE}: "):
        import_own()
    write(tmp_path / "own", GOOD)
    before = {info.name for info in REGISTRY.infos()}
    import_own()
    assert {info.name for info in REGISTRY.infos()} - before == {"mine"}
    REGISTRY.forget(["mine"])
    del REGISTRY.sources["mine"]


USER = """from srnas.search_space import build_block
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


@REGISTRY.register(BlockInfo(name="{name}", role="attention", paper="Example"))
class User(Block):
    def __init__(self, channels, config=BlockConfig()):
        super().__init__(channels, config)
        self.inner = build_block("{inner}", channels)

    def forward(self, x):
        return self.inner(x)
"""


def test_the_key_knows_the_blocks_that_a_block_builds_by_name(tmp_path):
    (tmp_path / "outer.py").write_text(USER.format(name="outer", inner="nested"))
    (tmp_path / "nested.py").write_text(USER.format(name="nested", inner="mine"))
    apart = tmp_path / "other.py"
    apart.write_text(USER.format(name="apart", inner="pa"))
    keys = {"outer": set(), "apart": set()}
    for forward in (GOOD, OTHER):
        write(tmp_path, forward)
        with registered(tmp_path):
            for name, found in keys.items():
                found.add(Architecture.from_dict({"scale": 2, "channels": 6, "positions": [{"attention": name}]}).key)
    assert {name: len(found) for name, found in keys.items()} == {"outer": 2, "apart": 1}


LISTED = """from pydantic import Field
from torch import nn
from srnas.search_space.registry import REGISTRY, Block, BlockConfig, BlockInfo


class Config(BlockConfig):
    kernels: list[int] = Field(default=[1])


@REGISTRY.register(BlockInfo(name="mine", role="attention", paper="Example"))
class Mine(Block):
    Config = Config

    def __init__(self, channels, config=Config()):
        super().__init__(channels, config)
        self.convs = nn.Sequential(*(nn.Conv2d(channels, channels, k, padding=k // 2) for k in config.kernels))

    def forward(self, x):
        return self.convs(x)
"""


def test_an_option_may_be_a_list(tmp_path):
    (tmp_path / "mine.py").write_text(LISTED)
    with registered(tmp_path):
        attention = {"name": "mine", "kernels": [1, 3]}
        made = Architecture.from_dict({"scale": 2, "channels": 6, "positions": [{"attention": attention}]})
        assert Architecture.from_json(made.to_json()) == made
        assert made.positions[0].attention.config.kernels == [1, 3]
