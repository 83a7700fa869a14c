"""The leaderboard page in a real browser, against a real MLflow server."""

import math

from browsing import chart_at_rest, column, expect, needs_chromium, trials_shown
from filled import HOSTILE, made

from srnas.leaderboard.rank.board import rank_rows

pytestmark = needs_chromium


def test_the_newest_study_is_shown_with_those_of_its_scope(show, served):
    _, store, records, _ = served
    page = show()
    assert page.input_value("#task") == "x2"
    assert "alpha (6)" in page.inner_text("#studies")
    assert "beta (2)" in page.inner_text("#studies")
    assert "elsewhere" not in page.inner_text("#studies")
    # What the table calls the front is what the ranking in Python calls so.
    both = store.rows_of([records["alpha"], records["beta"]])
    ranked = rank_rows(records["alpha"], both).rows
    expected = [f"{row['study']} #{row['trial']}" for _, row in ranked.iterrows() if row["state"] == "complete"]
    assert trials_shown(page) == expected
    front = page.locator("#trials tr.front")
    assert front.count() == int(ranked["front"].sum()) == 3
    assert column(page, "rank") == [str(i) for i in range(1, 8)]
    assert column(page, "latency_fastest_ms")[:2] == ["1.00", "1.80"]
    assert page.locator("#trials tr.front .strip").first.get_attribute("aria-label") == "conv"


def test_a_row_leads_to_its_run_in_mlflow_and_back(show, served):
    address, store, _, _ = served
    page = show()
    link = page.locator("#trials tbody tr").first.get_by_role("link", name="run")
    run_id = link.get_attribute("href").rpartition("/")[2]
    link.click()
    page.wait_for_url("**/runs/**")
    back = store.client.get_run(run_id).data.tags["mlflow.note.content"]
    assert back.startswith("[Leaderboard](/leaderboard/?study=alpha&open=alpha%3A0)")
    assert page.url.startswith(address)
    page.goto("about:blank")


def test_columns_sort(show):
    page = show()
    page.click("th[data-key=psnr_y_db] button")
    found = [float(text) for text in column(page, "psnr_y_db")]
    assert found == sorted(found, reverse=True)
    assert page.get_attribute("th[data-key=psnr_y_db]", "aria-sort") == "descending"
    page.click("th[data-key=psnr_y_db] button")
    assert [float(text) for text in column(page, "psnr_y_db")] == found[::-1]
    assert "sort=psnr_y_db" in page.url


def test_trials_are_filtered(show):
    page = show()
    page.fill("#find", "dw alpha")
    assert trials_shown(page) == ["alpha #4", "alpha #2"]
    page.fill("#find", "")
    page.fill("#least", "32.1")
    assert set(trials_shown(page)) == {"alpha #3", "alpha #4", "beta #0"}
    page.fill("#least", "")
    page.check("#unfinished")
    assert "over budget: fastest_ms=20 > 10" in page.inner_text("#trials")
    assert page.locator("#trials tbody tr").count() == 8


def test_a_trial_is_opened_from_the_table_and_from_the_chart(show):
    page = show()
    page.click("#trials tr[data-id='alpha:3']")
    panel = page.locator("#panel")
    panel.locator(".learning .main-svg").first.wait_for()
    text = panel.inner_text()
    assert "alpha, trial 3" in text
    assert "p02  conv" in text
    assert "tail: pixelshuffle, x2" in text
    assert "srnas export" in text
    assert "srnas train" in text
    page.keyboard.press("Escape")
    assert panel.is_hidden()
    chart_at_rest(page)
    page.locator("#front .scatterlayer .trace:nth-child(2) .point").first.click(force=True)
    panel.get_by_text("alpha, trial 0").wait_for()
    assert "open=alpha%3A0" in page.url


def test_names_of_designs_in_the_chart_do_not_overlap(show):
    page = show()
    crowd = [{"at": [300 + i, 200 - i], "text": f"design {i}"} for i in range(9)]
    ask = "([labels, points]) => import('./labels.js').then((m) => m.placed(labels, m.covered(points, points)))"
    alone, *close = page.evaluate(ask, [[{"at": [50, 50], "text": "alone"}, *crowd], [one["at"] for one in crowd]])
    assert alone == {"position": "top left", "text": "alone"}
    shown = [one["position"] for one in close if one["text"]]
    assert 0 < len(shown) < len(crowd)
    assert len(set(shown)) == len(shown)
    # A front that leads to the right leaves no room above its next step.
    [beside] = page.evaluate(ask, [[{"at": [100, 100], "text": "x"}], [[40, 90], [100, 88], [160, 88]]])
    assert beside["position"] == "bottom right"


def test_a_command_is_copied(show):
    page = show("?open=alpha:3", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy: srnas export").click()
    page.get_by_text("copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("srnas export ")
    assert copied in page.inner_text("#panel")


def test_device_profiles_are_not_mixed_unless_overlaid(show, served):
    page = show()
    assert not any(text.startswith("elsewhere") for text in trials_shown(page))
    # Two profiles that differ in what is not said of them are told apart.
    keys = [served[2][name].device.key for name in ("live", "elsewhere")]
    assert all(f"Slow CPU (cpu), float32 nchw, eager, 1 thread ({key})" in page.inner_text("#devices") for key in keys)
    page.check(f"#devices input[value='{keys[1]}']")
    expect(page.locator("#trials")).to_contain_text("Slow CPU")
    assert column(page, "rank").count("1") == 2  # Each profile has a front of its own.
    page.uncheck(f"#devices input[value='{served[2]['alpha'].device.key}']")
    expect(page.locator("#trials")).not_to_contain_text("alpha")
    assert trials_shown(page) == ["elsewhere #0"]
    assert "device=" in page.url


def test_a_choice_is_drawn_though_the_page_asks_again_before_it_is_answered(show, served):
    page, held = show(), []
    page.check(f"#devices input[value='{served[2]['elsewhere'].device.key}']")
    expect(page.locator("#trials")).to_contain_text("Slow CPU")

    def hold(route):
        """Answer the first request together with the second."""
        held.append(route)
        for one in held if len(held) == 2 else held[2:][-1:]:
            one.continue_()

    page.route("**/api/studies", hold)
    page.uncheck(f"#devices input[value='{served[2]['alpha'].device.key}']")
    expect(page.locator("#trials")).not_to_contain_text("alpha")
    assert len(held) >= 2


def test_studies_are_overlaid_with_fronts_of_their_own(show):
    page = show()
    page.check("#split")
    assert column(page, "rank").count("1") == 2
    page.locator("#studies").get_by_label("beta").uncheck()
    expect(page.locator("#trials")).not_to_contain_text("beta")
    assert {text.split()[0] for text in trials_shown(page)} == {"alpha"}
    page.click("#growth summary")
    page.wait_for_selector("#curve .main-svg")
    assert "study=alpha" in page.url


def test_another_task_is_another_scope(show):
    page = show()
    page.select_option("#task", "x4")
    page.get_by_text("larger #0").wait_for()
    # The study of the same name in the other task is another one.
    assert trials_shown(page) == ["larger #0", "alpha #0"]
    assert column(page, "psnr_y_db") == ["31.00", "29.00"]


def test_the_budget_is_dragged(show):
    page = show()
    handle = page.locator("#handle")
    start, area = handle.bounding_box(), page.locator("#front").bounding_box()
    y = start["y"] + 40
    page.mouse.move(start["x"] + start["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, y, steps=5)
    page.mouse.up()
    budget = float(page.input_value("#budget"))
    assert 1 < budget < 8
    assert max(float(text) for text in column(page, "latency_fastest_ms")) <= budget
    before = float(handle.get_attribute("aria-valuenow"))
    assert math.isclose(before, budget, rel_tol=1e-3)
    handle.press("ArrowLeft")
    assert float(handle.get_attribute("aria-valuenow")) < before
    handle.press("Delete")
    assert page.input_value("#budget") == ""


def test_architectures_are_compared(show):
    page = show()
    page.get_by_label("Compare trial 1 of alpha").check()
    assert page.locator("#compare").is_disabled()
    page.get_by_label("Compare trial 3 of alpha").check()
    page.click("#compare")
    panel = page.locator("#panel")
    panel.get_by_text("PSNR-Y of the first less").wait_for()
    text = panel.inner_text()
    assert "alpha #1" in text
    assert "alpha #3" in text
    # Photographs differ by -0.1 and +0.1 of 1 dB: mean -1, standard error 0.1.
    assert "-1.000 ± 0.100" in text
    assert "srnas leaderboard compare 1 3 --study alpha" in text


def test_a_link_holds_the_state(show):
    page = show("?study=alpha&sort=macs_g&budget=4&find=conv&open=alpha:1&split&compare=alpha:1&compare=alpha:2")
    assert trials_shown(page) == ["alpha #0", "alpha #1", "alpha #2"]
    assert page.input_value("#budget") == "4"
    assert page.get_attribute("th[data-key=macs_g]", "aria-sort") == "ascending"
    assert page.is_checked("#split")
    page.get_by_text("alpha, trial 1").wait_for()
    assert page.get_by_label("Compare trial 2 of alpha").is_checked()
    url = page.url
    again = show(url=url)
    assert again.url == url


def test_a_running_study_is_followed(show, served):
    _, store, records, parents = served
    page = show("?study=live")
    page.get_by_text("Live: live running").wait_for()
    assert trials_shown(page) == ["live #0", "live #1"]
    page.locator("#trials tr[data-id='live:1']").focus()
    better = made(2, 34.0, 6.0, "conv").model_copy(update={"study": "live"})
    store.write_trial(parents["live"], records["live"], better)
    page.get_by_text("live #2").wait_for()
    assert trials_shown(page) == ["live #2", "live #1", "live #0"]
    # What is drawn anew leaves the focus where it was.
    assert page.evaluate("document.activeElement.dataset.id") == "live:1"


def test_a_server_that_fails_for_a_while_is_asked_again(show, served):
    page = show("?study=beta", failing=("**/api/trials*", 1))
    page.get_by_text("beta #1").wait_for()
    assert len(trials_shown(page)) == 2


def test_a_comparison_that_comes_late_is_not_shown(show):
    page = show("?study=alpha&compare=alpha:1&compare=alpha:3")
    page.route("**/get-artifact?*", lambda route: (page.wait_for_timeout(300), route.continue_()))
    page.click("#compare")
    page.click("#trials tr[data-id='alpha:0']", force=True, position={"x": 60, "y": 5})
    page.get_by_text("alpha, trial 0").wait_for()
    page.wait_for_timeout(1200)
    assert "alpha, trial 0" in page.inner_text("#panel")
    assert "PSNR-Y of the first less" not in page.inner_text("#panel")


def test_the_keyboard_suffices(show):
    page = show()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("alpha")
    page.locator("#trials tbody tr").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    assert page.inner_text("#compare") == "Compare 2"
    chosen = page.evaluate("document.activeElement.dataset.id")
    page.keyboard.press("Enter")
    page.get_by_text(f"alpha, trial {chosen.partition(':')[2]}").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.id") == chosen
    page.focus("th[data-key=macs_g] button")
    page.keyboard.press("Enter")
    assert page.get_attribute("th[data-key=macs_g]", "aria-sort") == "ascending"
    assert page.evaluate("document.activeElement.closest('th').dataset.key") == "macs_g"


def test_a_narrow_screen(show):
    page = show("?open=alpha:1", viewport={"width": 360, "height": 740})
    page.get_by_text("What to do with it").wait_for()
    assert page.locator("#panel").bounding_box()["width"] <= 360
    page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_dark_mode(show):
    page = show(color_scheme="dark")
    paper, ink = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    brightness = [sum(int(part) for part in colour[4:-1].split(",")) for colour in (paper, ink)]
    assert brightness[0] < 150 < 600 < brightness[1]
    assert page.locator("#front .xtick text").first.evaluate("e => getComputedStyle(e).fill") == ink


def test_text_of_a_study_stays_text(show):
    page = show()
    page.select_option("#task", "x3")
    page.check("#unfinished")
    page.get_by_text("#1").first.wait_for()
    page.click("#trials tbody tr >> nth=0")
    page.get_by_text("What to do with it").wait_for()
    assert HOSTILE in page.inner_text("#panel")
    assert HOSTILE in page.inner_text("#trials")
    page.keyboard.press("Escape")
    chart_at_rest(page)
    page.hover("#front .scatterlayer .point", force=True)
    page.locator(".hoverlayer .hovertext").wait_for()
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "srnas leaderboard"
