"""A real Chromium, driven by its DevTools protocol."""

import contextlib
import io
import os
import shutil

import numpy as np
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def found() -> str:
    """The Chromium on the PATH. Skips, or fails where LCJAX_BROWSER asks for one, where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), "")
    lacking = "" if path else f"no Chromium on the PATH (looked for {', '.join(NAMES)})"
    try:
        import axe_playwright_python.sync_playwright  # noqa: F401
        import playwright.sync_api  # noqa: F401
    except ImportError as error:
        lacking = lacking or f"the extra `browser` is not installed ({error.name})"
    if lacking:
        (pytest.fail if os.environ.get("LCJAX_BROWSER") else pytest.skip)(lacking)
    return path


class Tab:
    """A tab and all that went wrong in it.

    Attributes:
      page: of playwright.
      wrong: what the console, and scripts that ended by an error, have said.
      asked: addresses that were asked for.
    """

    def __init__(self, page):
        self.page, self.wrong, self.asked = page, [], []
        page.on("console", lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def seen(self, selector: str) -> np.ndarray:
        """What stands on the screen there, (h, w, 3) uint8."""
        from matplotlib import image

        png = self.page.locator(selector).first.screenshot(animations="disabled")
        return np.rint(255 * image.imread(io.BytesIO(png))[..., :3]).astype(np.uint8)

    def violations(self) -> list[str]:
        """What axe-core finds that keeps people out."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {node['target']}: {node['failureSummary']}" for one in found for node in one["nodes"]]

    def settle(self) -> None:
        """Waits until what was asked for is drawn."""
        drawn = (
            "() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => requestAnimationFrame(done))))"
        )
        quiet = 0
        while quiet < 2:  # what is drawn may lack something, and ask for it
            self.page.evaluate(drawn)
            quiet = 0 if self.page.locator("[aria-busy=true]").count() else quiet + 1


@contextlib.contextmanager
def started(path: str):
    """A browser, for the time of the context."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()
