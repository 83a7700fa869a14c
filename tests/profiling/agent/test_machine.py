"""What a machine tells of itself, from files as Linux has them."""

from collections import namedtuple
from types import SimpleNamespace

import pytest

from srnas.profiling.agent import machine
from srnas.profiling.agent.measuring import BoardBench
from srnas.profiling.bench import host_load
from srnas.profiling.device import Target, describe_device
from srnas.profiling.preflight import preflight

# Seconds of one core.
Cpu = namedtuple("Cpu", "user idle")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a folder in place of the system's files: what begins with ``/proc`` or ``/sys`` is read there."""
    read = machine.read
    monkeypatch.setattr(machine, "read", lambda path: read(f"{tmp_path}{path}"))
    monkeypatch.setattr(machine, "_SYS", f"{tmp_path}/cpus")
    return tmp_path


def write(folder, path, text):
    file = folder / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


# source: "vcgencmd get_throttled", Raspberry Pi documentation: 0 is too low a voltage, 2 throttled, 16 and 18: it was.
@pytest.mark.parametrize(("bits", "throttled"), [("0", False), ("50000", False), ("50001", True), ("4", True)])
def test_a_pi_that_is_held_down_is_throttled_in_every_round(files, bits, throttled):
    write(files, machine._PI_THROTTLED, bits)
    bench = BoardBench({})
    assert [bench.state().throttled for _ in range(3)] == [throttled] * 3
    assert machine.state()["throttled"] is throttled


def test_a_count_of_throttling_tells_by_growing(monkeypatch):
    counts = iter([5, 5, 6, 6])
    monkeypatch.setattr(machine, "throttle_count", lambda: next(counts))
    bench = BoardBench({})
    assert [bench.state().throttled for _ in range(3)] == [False, True, False]


X86 = """processor	: 0
vendor_id	: AuthenticAMD
model name	: AMD EPYC 9R14
"""
# The last core of a Raspberry Pi 4 with 64 bits, and of an AWS Graviton 3.
PI = """CPU implementer	: 0x41
CPU architecture: 8
CPU part	: 0xd08

Hardware	: BCM2835
Model		: Raspberry Pi 4 Model B Rev 1.4
"""
GRAVITON = """CPU implementer	: 0x41
CPU architecture: 8
CPU part	: 0xd40
"""


@pytest.mark.parametrize(
    ("machine_name", "flags", "saturates"),
    [
        ("x86_64", "fpu avx2", True),
        ("x86_64", "fpu avx2 avx_vnni", False),
        ("AMD64", "fpu avx512f avx512_vnni", False),
        ("aarch64", "", False),
    ],
)
def test_x86_without_vnni_saturates(files, monkeypatch, machine_name, flags, saturates):
    monkeypatch.setattr("platform.machine", lambda: machine_name)
    write(files, "/proc/cpuinfo", f"flags\t\t: {flags}\n")
    assert machine.about()["int8_saturates"] is saturates


@pytest.mark.parametrize(
    ("info", "board", "name"),
    [
        (X86, "", "AMD EPYC 9R14"),
        (PI, "Raspberry Pi 4 Model B Rev 1.4\x00", "Raspberry Pi 4 Model B Rev 1.4, BCM2835"),
        (GRAVITON, "", "aarch64 0x41 0xd40"),
        ("", "", "aarch64"),
    ],
)
def test_a_processor_has_a_name(files, monkeypatch, info, board, name):
    monkeypatch.setattr("platform.processor", lambda: "aarch64")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    write(files, "/proc/cpuinfo", info)
    write(files, "/proc/device-tree/model", board)
    assert machine.name() == name
    # It is the name of this machine, too.
    assert describe_device(Target()).name == preflight(Target().device)["cpu"] == name


def test_the_load_of_others_is_a_share_of_the_cores():
    # Of ten seconds of all cores six were busy, two by this process; in the next ten nothing was.
    times = iter([(100.0, 50.0, 7.0), (110.0, 56.0, 9.0), (120.0, 56.0, 9.0)])
    load = machine.Load(lambda: next(times))
    assert [load.read() for _ in range(3)] == [None, 0.4, 0.2]


def test_a_load_is_told_of_more_than_a_few_ticks():
    # A tick that is counted late makes a share of 20, and one that is counted early a share below 0.
    times = iter([(0.0, 0.0, 0.0), (0.01, 0.2, 0.0), (0.4, 0.2, 0.1), (1.0, 0.2, 0.3), (2.0, 3.0, 0.3)])
    load = machine.Load(lambda: next(times))
    assert [load.read() for _ in range(5)] == [None, None, pytest.approx(0.25), 0.0, 1.0]


def test_linux_tells_the_load_in_ticks(files, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 3}, raising=False)
    load = machine.load()
    write(files, "/proc/stat", "cpu  9 0 0 9 0 0 0 0 0 0\ncpu1 100 0 0 900 0 0 0 0 0 0\ncpu3 0 0 0 0 0 0 0 0 0 0\n")
    assert load.read() is None
    cores = "cpu1 50100 0 0 100900 0 0 0 0 0 0\ncpu2 9000000 0 0 0 0 0 0 0 0 0\ncpu3 0 0 0 0 200000 0 0 50000 0 0\n"
    write(files, "/proc/stat", f"cpu  9050100 0 0 100900 200000 0 0 50000 0 0\n{cores}")
    # Of the 4000 seconds of two cores 1000 were busy, 1000 idle and 2000 waited for; this process had next to nothing.
    assert load.read() == pytest.approx(0.25, abs=0.01)


def test_a_neighbour_on_the_only_core_is_all_of_the_load(monkeypatch):
    times = iter([[Cpu(0.0, 0.0)] * 64, [Cpu(0.0, 9.0)] * 5 + [Cpu(9.0, 0.0)] + [Cpu(0.0, 9.0)] * 58])
    process = SimpleNamespace(cpu_affinity=lambda: [5], cpu_times=lambda: SimpleNamespace(user=0.0, system=0.0))
    monkeypatch.setattr("psutil.Process", lambda: process)
    monkeypatch.setattr("psutil.cpu_times", lambda percpu: next(times))
    clock = iter([100.0, 109.0])
    monkeypatch.setattr("srnas.profiling.bench.time", SimpleNamespace(monotonic=lambda: next(clock)))
    load = host_load()
    assert [load.read(), load.read()] == [None, 1.0]


@pytest.mark.parametrize("of_this_machine", [machine.load, host_load])
def test_this_machine_tells_its_load(of_this_machine):
    load = of_this_machine()
    load.read()
    whole, busy, own = load._first
    load._first = whole - 10, busy - 5, own
    assert load.read() == pytest.approx(0.5, abs=0.05)
