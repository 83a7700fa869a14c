"""The leaderboard page as one file, without a server."""

import base64
import io
import json

from browsing import column, expect, needs_chromium, trials_shown
from filled import made
from handmade import as_timed, replicate, study
from PIL import Image

from srnas.leaderboard.rank.board import rank_records, rank_rows
from srnas.leaderboard.show.page import write_page
from srnas.search_space import published

# As MLflow shows an HTML artifact.
SANDBOX = """text => {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.style = "position: fixed; inset: 0; width: 100%; height: 100%; z-index: 9";
  frame.src = URL.createObjectURL(new Blob([text], { type: "text/html" }));
  document.body.append(frame);
}"""

pytestmark = needs_chromium


def test_one_file_needs_no_server(show, served, tmp_path):
    _, store, records, _ = served
    board = rank_rows(records["alpha"], store.rows(records["alpha"]))
    record = json.loads(made(3, 33.0, 5.0, "conv", "conv", "conv").model_dump_json())
    record["architecture"]["positions"][0]["attention"] = "pa"
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, "PNG")
    figures = {"ablation": f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"}
    details = {"trial": record, "places": None, "crops": [], "explained": figures}
    write_page([board], tmp_path / "board.html", {"alpha:3": details})
    page = show(url=(tmp_path / "board.html").as_uri() + "?open=alpha:3", offline=True)
    page.get_by_text("p02  conv").wait_for()
    # Of what explains its attention a figure is shown, or the command that draws it.
    assert page.get_by_alt_text("What the attention of each position gives and takes").count() == 1
    commands = page.locator("#panel .command code").all_inner_texts()
    assert any(command.startswith("srnas explain maps --photo PHOTO --trial 3 --study alpha") for command in commands)
    assert not any("explain ablate" in command for command in commands)
    assert trials_shown(page)[0] == "alpha #0"
    assert page.get_by_role("link", name="run", exact=True).count() == 0


def test_one_file_works_in_the_sandbox_of_mlflows_viewer(show, served, tmp_path):
    _, store, records, _ = served
    write_page([rank_rows(records["alpha"], store.rows(records["alpha"]))], tmp_path / "board.html")
    page = show(url=(tmp_path / "board.html").as_uri())
    page.evaluate(
        SANDBOX,
        (tmp_path / "board.html").read_text(),
    )
    frame = page.frame_locator("iframe")
    frame.locator("#trials tr[data-id='alpha:1']").click()
    expect(frame.locator("#panel")).to_contain_text("alpha, trial 1")


def test_the_mean_over_seeds_ranks(show, tmp_path):
    trials = [made(0, 31.0, 1.0, "conv"), made(1, 31.2, 2.0, "dw"), made(2, 31.1, 3.0, "conv", "conv")]
    again = [replicate(1, 30.6, images="ab"), replicate(2, 31.5, images="ab")]
    write_page([rank_records(study(), trials, again)], tmp_path / "board.html")
    page = show(url=(tmp_path / "board.html").as_uri(), offline=True)
    assert trials_shown(page) == ["demo #0", "demo #2", "demo #1"]
    assert page.locator("#trials tr.front").count() == 2
    assert column(page, "psnr_y_db") == ["31.00", "31.10", "31.20"]
    assert column(page, "psnr_mean_db") == ["", "31.30", "30.90"]
    assert column(page, "gain_db") == ["+1.00", "+1.30", "+0.90"]
    assert "PSNR-Y, mean over seeds, in dB" in page.text_content("#front .ytitle")


def test_a_front_in_another_data_type_is_that_of_its_own_psnr(show, tmp_path):
    record = study("int8").model_copy(update={"name": "whole"})
    trained = [made(0, 31.0, 1.0, "conv"), made(1, 33.0, 2.0, "conv", "conv"), made(2, 32.0, 3.0, "dw")]
    scored = [as_timed(trained[0], 30.5), trained[1], as_timed(trained[2], 31.5)]
    trials = [one.model_copy(update={"study": "whole"}) for one in scored]
    details = {"trial": json.loads(trials[0].model_dump_json()), "places": None, "crops": [], "explained": {}}
    write_page([rank_records(record, trials)], tmp_path / "board.html", {"whole:0": details})
    page = show(url=(tmp_path / "board.html").as_uri() + "?open=whole:0", offline=True)
    page.get_by_role("heading", name="Photographs").wait_for()
    assert trials_shown(page) == ["whole #0", "whole #2", "whole #1"]
    assert page.locator("#trials tr.front").count() == 2
    assert column(page, "rank") == ["1", "2", ""]
    assert column(page, "timed_psnr_y_db") == ["30.50", "31.50", ""]
    assert column(page, "psnr_y_db") == ["31.00", "32.00", "33.00"]
    assert "PSNR timed" in page.inner_text("th[data-key=timed_psnr_y_db]")
    assert "PSNR timed" in page.inner_text("#panel")


def test_studies_that_timed_different_inputs_have_fronts_of_their_own(show, tmp_path):
    boards = []
    for name, size, latency_ms in (("small", [64, 48], 1.0), ("large", [128, 96], 4.0)):
        config = {**study().config, "latency_input": size}
        record = study().model_copy(update={"name": name, "config": config})
        boards.append(rank_records(record, [made(0, 31.0, latency_ms, "conv").model_copy(update={"study": name})]))
    write_page(boards, tmp_path / "board.html")
    page = show(url=(tmp_path / "board.html").as_uri(), offline=True)
    assert trials_shown(page) == ["small #0"]
    assert "1 thread, input 48x64" in page.inner_text("#devices")
    page.check("#devices label:has-text('input 96x128') input")
    expect(page.locator("#trials")).to_contain_text("large #0")
    assert column(page, "rank") == ["1", "1"]


def test_the_diagram_is_that_of_the_network(show, tmp_path):
    trials, details = [], {}
    for number, name in enumerate(("span_c28", "plainusr_u", "imdn_rtc", "rfdn")):
        one = made(number, 31.0 + number, 1.0 + number, "conv")
        trials.append(one.model_copy(update={"architecture": published(name, 4)}))
        record = json.loads(trials[-1].model_dump_json())
        details[f"demo:{number}"] = {"trial": record, "places": None, "crops": [], "explained": {}}
    write_page([rank_records(study().model_copy(update={"scale": 4}), trials)], tmp_path / "board.html", details)
    found = []
    for number in range(4):
        page = show(url=(tmp_path / "board.html").as_uri() + f"?open=demo:{number}", offline=True)
        page.get_by_text("tail: pixelshuffle").wait_for()
        found.append([text.strip() for text in page.locator(".diagram li").all_inner_texts()])
    span, carrying, plain, distilled = found
    places = [distilled.index(text) for text in ("gather: positions", "end: conv", "+ stem (long skip)")]
    assert places == sorted(places)
    assert (span[0], span[-3], span[-2]) == (
        "stem: conv3xc, 28 channels", "end: conv3xc", "gather: stem+body+first+inner",
    )  # fmt: skip
    assert (carrying[0], carrying[-2]) == ("stem: conv 3x3, 16 channels", "+ picture, carried past the body")
    assert not any("upsampled" in text for text in (*span, *carrying))
    assert plain[-1].startswith("tail")
