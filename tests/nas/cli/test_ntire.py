"""``srnas ntire``: scores and ranks by the challenge's rule, in both ways to measure."""

import csv
import io
import json
import math

import pytest

from srnas.profiling import count
from srnas.profiling.official import time_sequence
from srnas.search_space import Architecture, Network, Position, published

pytestmark = pytest.mark.usefixtures("brief_latency")

BRIEF = ("--device", "cpu", "--max-time-s", 0, "--size", "16x12", "--images", 2)


@pytest.fixture
def in_process(monkeypatch):
    """Time in the challenge's way in this process: starting others takes seconds."""

    def here(architecture, shape, device, threads, images):
        return time_sequence(Network(architecture).deploy(), shape, device, images)

    monkeypatch.setattr("srnas.nas.ntire.referee.time_cold", here)


@pytest.fixture
def ntire(run, workspace):
    """Return a function that runs the command and returns its rows by network."""

    def ntire(*arguments):
        code, out, err = run("ntire", *arguments, *BRIEF, "--workspace", workspace, "--json")
        assert code == 0, err
        return {row["network"]: row for row in json.loads(out)}

    return ntire


def file(tmp_path, name, depth, scale=4):
    path = tmp_path / f"{name}.json"
    path.write_text(Architecture(scale=scale, channels=8, positions=(Position(trunk="conv"),) * depth).to_json())
    return str(path)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_pools")
def test_two_networks_in_fresh_processes(ntire, tmp_path):
    small, large = file(tmp_path, "small", 1), file(tmp_path, "large", 6)
    rows = ntire(small, large, "--baseline", small)
    assert list(rows) == [small, large]
    for number, row in enumerate(rows.values(), 1):
        assert (row["rank"], row["official_images"], row["year"], row["baseline"]) == (number, 2, 2026, small)
        assert row["official_mean_ms"] > 0
    assert rows[small]["score"] == rows[small]["official_score"] == pytest.approx(math.exp(2))


def test_the_scores_are_those_of_the_figures(in_process, ntire):
    names = ("plainusr_u", "plainusr_t")
    rows = ntire(*names, "--year", 2025, "--baseline", "plainusr_s")
    # The baseline is shown and has no rank, since it was not named.
    assert (rows["plainusr_s"]["rank"], rows["plainusr_s"]["official_rank"]) == (None, None)
    assert list(rows)[-1] == "plainusr_s"
    base = rows["plainusr_s"]
    for name in names:
        row, counts = rows[name], count(Network(published(name, 4)).deploy(), (1, 3, 12, 16))
        assert row["params_m"] == counts.params / 1e6
        # fvcore adds what it counts of batch norm, pooling and interpolation.
        assert row["flops_g"] == pytest.approx(counts.macs / 1e9, rel=0.05)
        for way, runtime in (("", "latency_fastest_ms"), ("official_", "official_mean_ms")):
            expected = 0.7 * math.exp(2 * row[runtime] / base[runtime])
            expected += 0.15 * math.exp(2 * row["flops_g"] / base["flops_g"])
            expected += 0.15 * math.exp(2 * row["params_m"] / base["params_m"])
            assert row[f"{way}score"] == pytest.approx(expected)
        assert row["official_first_ms"] > 0
        assert (
            row["latency_fastest_ms"]
            <= row["latency_median_low_ms"]
            <= row["latency_median_ms"]
            <= row["latency_median_high_ms"]
        )


def test_given_figures_replace_the_baseline(in_process, ntire):
    given = ("--baseline-runtime-ms", 2, "--baseline-gflops", 0.5, "--baseline-params-m", 0.02)
    [row] = ntire("plainusr_u", *given).values()
    assert row["score_runtime"] == pytest.approx(math.exp(row["latency_fastest_ms"]))
    assert row["official_score_runtime"] == pytest.approx(math.exp(row["official_mean_ms"]))
    assert row["score_flops"] == pytest.approx(math.exp(4 * row["flops_g"]))
    assert row["score_params"] == pytest.approx(math.exp(100 * row["params_m"]))
    assert row["baseline"] == "SPAN, as given"


def test_the_front_of_a_study_and_its_psnr(in_process, ntire, run, search_request, launched):
    launched(search_request.changed(trials=3))
    front = [r for r in json.loads(run("leaderboard", "--workspace", search_request.workspace, "--json")[1])
             if r["front"]]  # fmt: skip
    least = max(row["psnr_y_db"] for row in front)
    rows = ntire("plainusr_u", "--study", "small-x2", "--min-psnr", least)
    assert rows["plainusr_u"]["psnr_gate"] == "unknown"
    assert rows["span_c28"]["psnr_gate"] == ""
    for row in front:
        found = rows[f"small-x2#{row['trial']}"]
        assert (found["psnr_y_db"], found["key"], found["scale"]) == (row["psnr_y_db"], row["key"], 2)
        assert found["psnr_gate"] == ("passed" if row["psnr_y_db"] >= least else "below")
        assert (found["rank"] is None) == (found["psnr_gate"] == "below")
    # By its key as well, with the PSNR of its newest training.
    [named] = ntire(front[0]["key"], "--baseline", front[0]["key"]).values()
    assert named["psnr_y_db"] == front[0]["psnr_y_db"]


def test_tables(in_process, run, workspace, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    given = ("ntire", "plainusr_u", "plainusr_t", *BRIEF, "--workspace", workspace)
    code, out, _ = run(*given)
    text = " ".join(out.split())
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "NTIRE 2026 efficient super-resolution, x4, input 16x12" in text
    assert "Baseline: span_c28, the challenge's own of 2026, timed here" in text
    assert "no warm-up, mean over the images with the first in it" in text
    assert "each network in a fresh process, 2 random images" in text
    assert "no PSNR is known here" in text
    assert "same ranks" in text or "The ranks differ" in text
    rows = list(csv.DictReader(io.StringIO(run(*given, "--csv")[1])))
    assert {row["network"] for row in rows} == {"plainusr_u", "plainusr_t", "span_c28"}
    text = " ".join(
        run(*given, "--baseline-runtime-ms", 3, "--baseline-gflops", 1, "--baseline-params-m", 0.1)[1].split()
    )
    assert "Baseline: SPAN, as given: 3 ms for both ways to measure, 1 G, 0.1 M." in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "at least one network must be given, but got none"),
        (("plainusr_u", "--year", 2023), "year must be one of 2024, 2025, 2026, but got year=2023."),
        (("plainusr_u", "--min-psnr", 26.9), "--min-psnr needs networks whose PSNR is known"),
        (("plainusr_u@compile",), "must be timed eagerly in float32, as the challenge does"),
        (("plainus_u",), "unknown network 'plainus_u'. Did you mean 'plainusr_u'?"),
        (("plainusr_u", "two.json"), "networks must be of one scale, but got x2: two.json; x4: plainusr_u"),
        (("plainusr_u", "--baseline", "two.json"), "the baseline must be x4, as the networks are, but got 'two.json'"),
        (("plainusr_u", "--baseline-gflops", 3), "a baseline must be a network (--baseline) or figures"),
        (("plainusr_u", "--baseline", "a2n", "--baseline-runtime-ms", 3), "but got both or no runtime"),
        (("plainusr_u", "--baseline-runtime-ms", 3), "those of SPAN are published for x4 at 256x256 only"),
        (("--study", "small"), "unknown study 'small'. Valid: none."),
    ],
)
def test_bad_input(run, workspace, tmp_path, monkeypatch, arguments, message):
    file(tmp_path, "two", 1, scale=2)
    monkeypatch.chdir(tmp_path)
    code, out, err = run("ntire", *arguments, *BRIEF, "--workspace", workspace)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
