"""Tables of trained networks: what is written comes back, and searches are replayed on it."""

import json
import lzma

import handmade
import pytest

from srnas.nas.revisit.tabular import Curve, TabularBenchmark, TabulatedNetwork, joined
from srnas.search_space import Architecture, InputError, Position

PLAIN = Architecture(scale=2, channels=6, positions=(Position(trunk="conv"),))


@pytest.fixture
def table(space_file):
    return handmade.table(space_file)


def test_what_is_written_comes_back(table, tmp_path):
    table.save(tmp_path / "t.jsonl.xz")
    back = TabularBenchmark.load(tmp_path / "t.jsonl.xz")
    assert back.head == table.head
    assert list(back.networks) == list(table.networks)
    for one, again in zip(table.networks.values(), back.networks.values(), strict=True):
        assert again.architecture == one.architecture
        assert again.sources == one.sources
        for curve, read in zip(one.curves, again.curves, strict=True):
            for steps, psnr in curve.psnr_y_db.items():
                assert read.psnr_y_db[steps] == pytest.approx(psnr, abs=5.1e-4)


def test_entries_of_a_network_are_joined():
    def entry(source, ms, seed, **psnr):
        curve = Curve(seed=seed, psnr_y_db={int(k[1:]): (v,) for k, v in psnr.items()}, train_s={})
        return TabulatedNetwork(architecture=PLAIN, sources=(source,), fastest_ms=ms, curves=(curve,))

    entries = [
        entry("uniform 3", {"eager": 2.0}, 0, s40=30.0, s400=31.0),
        entry("search 0.4", {"eager": 1.5, "openvino": 1.0}, 1, s400=31.2),
        entry("uniform 3", {"eager": 1.7}, 0, s400=31.0, s1200=32.0),
    ]
    [(key, one)] = joined(entries).items()
    assert key == PLAIN.key
    assert one.sources == ("uniform 3", "search 0.4")
    assert one.fastest_ms == {"eager": 1.5, "openvino": 1.0}
    assert [curve.seed for curve in one.curves] == [0, 1]
    assert one.curves[0].psnr_y_db == {40: (30.0,), 400: (31.0,), 1200: (32.0,)}
    assert one.curve(1200) == one.curves[0]
    assert one.curve(1200, seed=1) is None


def test_a_recording_judges_where_a_search_does(table, space_file):
    networks = list(table.networks.values())
    untimed = networks[-1].model_copy(update={"fastest_ms": {}})
    table.networks[untimed.architecture.key] = untimed
    # Of a training that was judged at its ends only, nobody knows whether a rung would have stopped it.
    ends = {steps: psnr for steps, psnr in networks[-2].curves[0].psnr_y_db.items() if steps >= 30}
    unjudged = networks[-2].curves[0].model_copy(update={"psnr_y_db": ends})
    table.networks[networks[-2].architecture.key] = networks[-2].model_copy(update={"curves": (unjudged,)})
    recording = table.recording(space=str(space_file))
    assert len(recording.trials) == 18
    assert recording.num_records == 20
    assert recording.reference_point == (28.5, max(one.fastest_ms["eager"] for one in networks[:-2]))
    first, known = recording.trials[0], networks[0].curves[0]
    assert [rung.iteration for rung in first.rungs] == [10, 30]
    assert [rung.psnr_y_db for rung in first.rungs] == [known.mean_db(10), known.mean_db(30)]
    assert first.train_s == known.train_s[30]


def test_what_is_no_table(table, space_file, tmp_path):
    path = tmp_path / "t.jsonl.xz"
    with pytest.raises(InputError, match="the table must be readable, but '.*t.jsonl.xz' is not: No such file"):
        TabularBenchmark.load(path)
    for content in (b"not xz", lzma.compress(b"not JSON\n"), lzma.compress(json.dumps({"format": 2}).encode()), b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match="a table must be JSON lines of format 2, compressed by xz, but"):
            TabularBenchmark.load(path)
    space_file.write_text(space_file.read_text().replace("[6, 12]", "[6]"))
    with pytest.raises(InputError, match="must be as it was when the table was begun"):
        table.recording(space=str(space_file))


def test_a_table_of_untimed_networks(table, space_file):
    with pytest.raises(InputError, match="two or more networks that are timed in 'openvino' and trained for 30 steps"):
        table.recording("openvino", str(space_file))


def test_searches_are_replayed_on_a_table(run, table, space_file, tmp_path):
    table.save(tmp_path / "t.jsonl.xz")
    of_own_space = ("replay", "--table", tmp_path / "t.jsonl.xz")
    code, _, err = run(*of_own_space)
    assert code == 2
    assert "the space of the table must be found" in err
    given = (*of_own_space, "--space", space_file, "--seeds", 2, "--sampler", "front,random", "--trials", 8)
    code, out, err = run(*given)
    assert code == 0, err
    assert "20 of 20" in " ".join(out.split())
    rows = json.loads(run(*given, "--json")[1])
    assert {row["num_trials"] for row in rows} == {8}
    # Eight of twenty trainings of 30 steps.
    assert {row["cost_iterations"] for row in rows if row["cost_share"] == 1} == {8 * 30}
    assert "training 8 networks to the end (240 iterations)" in " ".join(out.split())
    assert "either a STUDY or a --table must be given, but got both." in run(*given, "demo")[2]
    assert "either a STUDY or a --table must be given, but got neither." in run("replay")[2]
    assert "trials >= 1 must hold, but got trials=0." in run(*given[:-1], 0)[2]
