"""What a user names to be timed: networks by name, key and file, targets in words, and what runs side by side."""

import os
from dataclasses import replace

import pytest
import torch

from srnas.nas.workspace.named import NamedNetwork, by_target, find_named, input_shape
from srnas.nas.workspace.workspace import Workspace
from srnas.profiling import Target
from srnas.profiling.boards.board import Board, BoardRuntime
from srnas.search_space import Architecture, InputError, Position, published

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
SMALL = Architecture(scale=2, channels=12, positions=(Position(trunk="conv", attention="lia"),))


@pytest.fixture
def judged(search_request, launched):
    """Return the only row of a study in the workspace."""
    return launched(search_request.changed(trials=1, iterations=1)).board.records()[0]


def test_a_published_network(tmp_path):
    assert find_named("a2n", 3, Workspace(tmp_path), Target()) == NamedNetwork("a2n", published("a2n", 3), Target())


def test_a_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(SMALL.to_json())
    found = find_named(f"{path}@bfloat16", 4, Workspace(tmp_path), Target())
    # A file states its own scale.
    assert found == NamedNetwork(f"{path}@bfloat16", SMALL, Target(dtype="bfloat16"))


def test_a_key_in_an_empty_folder_leaves_it_empty(tmp_path):
    with pytest.raises(InputError, match="must hold architecture 0123456789ab"):
        find_named("0123456789ab", 2, Workspace(tmp_path), Target())
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_a_study(workspace, judged):
    found = find_named(judged["key"], 4, Workspace(workspace), Target())
    assert found.architecture.key == judged["key"]
    assert str(found.architecture) == judged["architecture"] == "x2-c12[2(conv)]"  # EDSR-like is judged first.
    with pytest.raises(InputError, match=f"workspace '{workspace}' must hold architecture 0123456789ab, but it does"):
        find_named("0123456789ab", 2, Workspace(workspace), Target())


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ("", Target(dtype="float16")),
        ("onnxruntime,float32", Target(runtime="onnxruntime")),
        ("int8,openvino", Target(runtime="openvino", dtype="int8")),
        ("channels_last,bfloat16", Target(dtype="bfloat16", memory_format="channels_last")),
        ("nchw,cpu,1thread,eager", Target(dtype="float16")),
        (f"{CORES}threads", Target(dtype="float16", threads=CORES)),
    ],
)
def test_words_change_the_target(tmp_path, words, target):
    assert find_named(f"a2n@{words}", 2, Workspace(tmp_path), Target(dtype="float16")).target == target


PI = Board("pi", "http://pi", cores=1000, runtimes=(BoardRuntime("onnxruntime", "onnxruntime 1.0", ("float32",)),))
ON_PI = Target(runtime="onnxruntime", board=PI)


def test_threads_on_a_board_are_the_boards(tmp_path):
    found = find_named("a2n@1000threads", 2, Workspace(tmp_path), ON_PI)
    assert found.target == replace(ON_PI, threads=1000)
    with pytest.raises(InputError, match=r"\(the cores of target 'pi'\) must hold, but got threads=1001"):
        find_named("a2n@1001threads", 2, Workspace(tmp_path), ON_PI)


def test_a_device_of_this_machine_is_no_board(tmp_path):
    assert find_named("a2n@cpu", 2, Workspace(tmp_path), ON_PI).target == Target(runtime="onnxruntime")
    with pytest.raises(InputError, match=r"\(the cores of this machine\) must hold, but got threads=1000"):
        find_named("a2n@1000threads,cpu", 2, Workspace(tmp_path), ON_PI)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a2m", "unknown network 'a2m'. Did you mean 'a2n_m'?"),
        ("a2m", "Or give an architecture's key of 12 digits, or its file."),
        ("", "unknown network ''."),
        ("0123456789AB", "unknown network '0123456789AB'."),
        ("a2n@channels_lst", "unknown word after '@' 'channels_lst'. Did you mean 'channels_last'?"),
        ("a2n@eager, nchw", "unknown word after '@' ' nchw'."),
        ("a2n@0threads", "must hold, but got threads=0."),
        ("a2n@100000threads", "(the cores of this machine) must hold, but got threads=100000."),
        ("a2n@cuda:99", "device 'cuda:99' must exist"),
        ("no.json", "a file of an architecture must exist, but got 'no.json'."),
        ("0123456789ab", "workspace '{none}' must hold architecture 0123456789ab, but it does not;"),
    ],
)
def test_what_is_not_there(tmp_path, text, message):
    none = tmp_path / "none"
    with pytest.raises(InputError) as error:
        find_named(text, 2, Workspace(none), Target())
    assert message.format(none=none) in str(error.value)
    assert not none.exists()


def test_a_file_that_holds_something_else(tmp_path):
    path = tmp_path / "other.json"
    path.write_text("[1, 2]")
    with pytest.raises(InputError, match=r"other.json' must hold an architecture, but "):
        find_named(str(path), 2, Workspace(tmp_path), Target())


# The papers' convention: the input whose output is 1280x720, rounded down.
@pytest.mark.parametrize(("scale", "shape"), [(2, (1, 3, 360, 640)), (3, (1, 3, 240, 426)), (4, (1, 3, 180, 320))])
def test_the_input_is_that_of_a_720p_output(scale, shape):
    assert input_shape(published("plainusr_u", scale), None) == shape


def test_an_input_that_is_too_small():
    assert input_shape(SMALL, (7, 9)) == (1, 3, 7, 9)
    with pytest.raises(InputError, match=r"at least 7 for x2-c12\[conv\+lia\], but got 9x6\."):
        input_shape(SMALL, (6, 9))


def test_networks_of_one_target_are_timed_together():
    layout, compiled = Target(memory_format="channels_last"), Target(runtime="compile")
    subjects = [
        NamedNetwork("a", SMALL, Target()),
        NamedNetwork("b", SMALL, layout),
        NamedNetwork("c", published("a2n", 2), Target()),
    ]
    subjects.append(NamedNetwork("d", SMALL, compiled))
    grouped = dict(by_target(subjects, (8, 10)))
    assert [(target, list(together)) for target, together in grouped.items()] == [
        (Target(), ["a", "c"]),
        (layout, ["b"]),
        (compiled, ["d"]),
    ]
    first = grouped[Target()]["a"]
    assert (first.kind, first.name, first.input_shape, first.architecture) == ("network", "a", (1, 3, 8, 10), SMALL)
    assert first.module.deployed
    assert first.module(torch.rand(first.input_shape)).shape == (1, 3, 16, 20)
    # What fuses over positions is not split by position.
    assert grouped[compiled]["d"].architecture is None
