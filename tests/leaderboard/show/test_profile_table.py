"""Profiles as tables on hand-made ones."""

import io
from dataclasses import replace

import pytest
from profiled import DEVICE, place, profiled, timed
from rich.console import Console

from srnas.leaderboard.show.profile_table import digits, latency_table, places_table, reconciliations, sizes_table


def shown(*tables, width=200):
    console = Console(width=width, file=io.StringIO())
    for table in tables:
        console.print(table)
    return console.file.getvalue()


def words(text):
    """Return a text without its line breaks: titles and captions are as wide as their table."""
    return " ".join(text.split())


def cells(text, name):
    """Return what stands in the row of a name."""
    [line] = [line for line in text.splitlines() if line.split()[:1] == [name]]
    return line.split()[1:]


def test_sizes():
    added = {"fvcore_extras": {"pooling": 100_000}, "ptflops_extras": {"convolution": 200_000}}
    text = shown(sizes_table([profiled(**added), profiled("cbam", params=5, peak_memory_mib=None, **added)]))
    assert "Sizes of the deploy form, input 8 channels, 32x24" in text
    # Millions of MACs by the three counters, millions of activations, megabytes, mebibytes.
    assert cells(text, "lia") == ["1,234", "2.50", "2.60", "2.70", "0.0988", "5.00", "1.50"]
    assert cells(text, "cbam") == ["5", "2.50", "2.60", "2.70", "0.0988", "5.00"]
    assert "The three agree to the unit" in words(text)


def test_profiles_of_several_inputs_say_theirs():
    profiles = [profiled(), profiled("cbam", shape=(1, 16, 9, 7))]
    for text in (shown(sizes_table(profiles)), shown(latency_table(profiles))):
        assert ", input" not in text
        assert "8 channels, 32x24" in text
        assert "16 channels, 7x9" in text
    assert "input 32x24" in shown(sizes_table([profiled("a2n", "network", shape=(1, 3, 24, 32))]))


def test_counters_that_disagree_say_so():
    profiles = [profiled(), profiled("cbam", unexplained=7), profiled("mine", unknown={"aten::lgamma": 2})]
    text = shown(sizes_table(profiles))
    assert "The three agree" not in words(text)
    assert "Rows that say so do not reconcile to the unit." in words(text)
    assert text.count("COUNTERS DIFFER") == 1
    assert "unknown aten::lgamma x2" in text
    both = "ptflops 2,500,000 = record 2,500,000"
    assert reconciliations(profiles) == [
        f"cbam: fvcore 2,500,007 = record 2,500,000 + unexplained 7; {both}",
        f"mine: fvcore 2,500,000 = record 2,500,000; {both}",
    ]


def test_what_other_counters_add_is_said_as_sums():
    added = (
        profiled("lia", fvcore_extras={"pooling": 3}),
        profiled("pa", ptflops_extras={"convolution": 4}),
        profiled("dw"),
    )
    assert [text.partition(":")[0] for text in reconciliations(added)] == ["lia", "pa"]


def test_latencies():
    disturbed = timed(0.456, 0.512, 0.498, 0.534, flags=("disturbed", "wide"))
    text = shown(latency_table([profiled(), profiled("cbam", roofline_share=None, latency=disturbed)]))
    assert "Latency on a processor (cpu), float32 nchw, eager, 1 thread, input 8 channels, 32x24" in words(text)
    assert cells(text, "lia") == ["0.456", "0.512", "0.498", "to", "0.534", "0.789", "24%"]
    assert cells(text, "cbam") == ["0.456", "0.512", "0.498", "to", "0.534", "0.789"]
    assert "disturbed, wide" in text


def test_latencies_of_a_gpu_and_of_cold_caches_have_columns():
    figures = (0.456, 0.512, 0.498, 0.534)
    on_gpu = shown(latency_table([profiled(latency=timed(*figures, device_median_ms=0.4)), profiled("cbam")]))
    assert cells(on_gpu, "lia")[-3:] == ["0.400", "0.789", "24%"]
    assert cells(on_gpu, "cbam")[-3:] == ["0.534", "0.789", "24%"]
    both = shown(latency_table([profiled(latency=timed(*figures, device_median_ms=0.4, cold_fastest_ms=2.5))]))
    assert cells(both, "lia")[-4:] == ["0.400", "2.50", "0.789", "24%"]


def test_places():
    places = [place("stem", "stem", 1.0), place("p00", "conv+lia", 2.5, params=2345), place("tail", "tail", 0.5)]
    whole = timed(3.5, 3.6, 3.5, 3.7)
    text = shown(places_table(profiled("mine", "network", places=places, latency=whole)))
    assert "mine by position" in text
    assert "together they take 4.00 ms, the network 3.50 ms." in words(text)
    assert cells(text, "stem") == ["10", "3.00", "0.0400", "1.00", "25%"]
    assert cells(text, "p00") == ["conv+lia", "2,345", "3.00", "0.0400", "2.50", "62%"]


def test_what_users_name_is_no_markup():
    name, flag, device = "[red]x[/red]", "[bold]wide", "[/] processor"
    hostile = profiled(
        name,
        device=replace(DEVICE, name=device),
        latency=timed(0.456, 0.512, 0.498, 0.534, flags=(flag,)),
        places=[place("p00", "[b]conv", 1.0)],
    )
    text = shown(sizes_table([hostile]), latency_table([hostile]), places_table(hostile))
    assert text.count(name) == 3
    assert flag in text
    assert f"Latency on {device}" in text
    assert "[b]conv" in text
    assert "unknown [i]op x1" in shown(sizes_table([profiled(unknown={"[i]op": 1})]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.1234, "0.123"),
        (1.234, "1.23"),
        (99.994, "99.99"),
        (123.46, "123.5"),
        (12345.6, "12,346"),
        (0.0, "0"),
        (0.0004, "0.000400"),
        (0.0123, "0.0123"),
        (999.96, "1,000"),
    ],
)
def test_digits(value, text):
    assert digits(value) == text
