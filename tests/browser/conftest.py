import chromium
import pytest


@pytest.fixture(scope="session")
def browser():
    with chromium.started(chromium.found()) as browser:
        yield browser


@pytest.fixture
def tab(browser):
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    made = chromium.Tab(context.new_page())
    yield made
    context.close()
    assert made.wrong == []
