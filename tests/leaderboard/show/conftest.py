"""The page in a real browser."""

import pytest


@pytest.fixture(scope="module")
def browser():
    from browsing import CHROMIUM, sync_api

    with sync_api.sync_playwright() as playwright:
        # The sandbox of a browser needs a user other than root.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def show(browser, served, request):
    """Return a function that opens the page; afterwards nothing may have gone wrong in it or left the host."""
    from browsing import LONGEST_MS, SCREENSHOTS

    address, contexts, troubles, asked = served[0], [], [], []

    def show(query="", url=None, failing=None, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        contexts.append(context)
        context.set_default_timeout(LONGEST_MS)
        page = context.new_page()
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda sent: asked.append(sent.url))
        if failing:
            page.route(failing[0], lambda route: route.abort(), times=failing[1])
        page.goto(url or f"{address}/leaderboard/{query}")
        page.wait_for_selector("html[data-ready]")
        page.wait_for_selector("#front .main-svg")
        return page

    yield show
    for context in contexts:
        for page in context.pages:
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png")
        context.close()
    # The browser itself says of a request that it failed.
    assert [text for text in troubles if "net::ERR_FAILED" not in text] == []
    assert [url for url in asked if not url.startswith((address, "data:", "blob:", "file:"))] == []
