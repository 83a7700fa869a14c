"""A store of studies that differ in all that the page tells apart, among them one of hostile names."""

from dataclasses import replace

from handmade import study, trial

from srnas.leaderboard.record.trials import Rung, Sizes
from srnas.leaderboard.store.store import Store
from srnas.search_space import Architecture, Position

HOSTILE = '<img src=x onerror=document.title="owned">'


def architecture(*trunks):
    return Architecture(scale=2, channels=6, positions=tuple(Position(trunk=trunk) for trunk in trunks))


def made(number, psnr, latency_ms, *trunks, **fields):
    """Return a trial of so much PSNR and latency."""
    rounds = (latency_ms, 1.02 * latency_ms, 1.05 * latency_ms)
    images = (psnr - 0.1 * (number % 3), psnr + 0.1 * (number % 3))
    macs = 1_000_000 * len(trunks) + number
    sizes = Sizes(input_shape=(1, 3, 8, 8), params=1000, macs=macs, other_ops=0, activations=1)
    one = trial(number, images, rounds, images="ab", ended_ms=1_000_000 + 60_000 * number)
    return one.model_copy(
        update={
            "architecture": architecture(*trunks),
            "sizes": sizes,
            "rungs": (Rung(iteration=10, psnr_y_db=psnr - 1), Rung(iteration=30, psnr_y_db=psnr)),
            **fields,
        }
    )


def fill(store, record, trials):
    parent = store.open_study(record)
    for one in trials:
        store.write_trial(parent, record, one.model_copy(update={"study": record.name}))
    return parent


ALPHA = [
    made(0, 31.0, 1.0, "conv", design="plain-small"),
    made(1, 32.0, 2.0, "conv", "conv"),
    made(2, 31.5, 3.0, "dw", "conv"),
    made(3, 33.0, 5.0, "conv", "conv", "conv"),
    made(4, 32.5, 8.0, "dw", "dw"),
    trial(5, 0.0, state="over_budget").model_copy(update={"reason": "fastest_ms=20 > 10", "latency": None}),
]
BETA = [made(0, 32.2, 1.8, "dw"), made(1, 31.1, 4.0, "conv")]


def store_of(folder):
    store = Store(folder)
    slow = replace(study().device, name="Slow CPU")
    newer = replace(slow, torch_version="9.9")
    records = {
        "alpha": study(),
        "beta": study(),
        "live": study().model_copy(update={"device": newer}),
        "elsewhere": study().model_copy(update={"device": slow}),
        "larger": study().model_copy(update={"scale": 4}),
        HOSTILE: study().model_copy(update={"scale": 3, "validation": HOSTILE}),
    }
    records = {name: record.model_copy(update={"name": name}) for name, record in records.items()}
    for name in ("larger", HOSTILE):
        fill(store, records[name], [made(0, 31.0, 1.0, "conv"), made(1, 30.0, 2.0, "conv", state="failed")])
    for run_id in store.rows(records[HOSTILE])["run_id"]:
        for tag in ("design", "error", "key", "architecture", "latency_flags", "protocol"):
            store.client.set_tag(run_id, f"srnas.{tag}", HOSTILE)
    # A study of the same name for another task.
    fill(store, study().model_copy(update={"name": "alpha", "scale": 4}), [made(0, 29.0, 1.0, "conv")])
    # In the order in which studies are offered: the newest is shown first.
    parents = {
        name: fill(store, records[name], trials)
        for name, trials in (
            ("live", [made(0, 30.9, 7.0, "conv"), made(1, 31.9, 8.0, "conv")]),
            ("elsewhere", [made(0, 30.9, 9.0, "conv")]),
            ("beta", BETA),
            ("alpha", ALPHA),
        )
    }
    for name in ("elsewhere", "beta", "alpha"):
        store.close_study(parents[name], {}, ())
    # A trial whose process died while it wrote.
    run_id = store.write_trial(parents["alpha"], records["alpha"], made(9, 99.0, 0.1, "conv"))
    store.client.update_run(run_id, "RUNNING")
    return store, records, parents
