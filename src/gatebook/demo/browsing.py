"""A browser that follows a script: it goes where it is sent, presses the buttons it is told to, and notes what it was shown."""

from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx2

from gatebook.demo.place import DemoError

MAX_STEPS = 20


class ScriptedBrowser:
    """`presses`: name of a button → value; the first form with such a button is sent by it. `shown`: the headings of the pages it met."""

    def __init__(self, presses: Mapping[str, str]) -> None:
        self._presses = presses
        self.shown: list[str] = []

    async def visit(self, url: str, until: str) -> str:
        """Go to `url` and on, by redirects and forms, to the first address that begins with `until`: that is returned, and not asked for."""
        async with httpx2.AsyncClient(trust_env=False, timeout=15.0, follow_redirects=False) as http:
            response = await http.get(url)
            for _ in range(MAX_STEPS):
                if response.is_redirect:
                    url = urljoin(str(response.url), response.headers["location"])
                    if url.startswith(until):
                        return url
                    response = await http.get(url)
                    continue
                page = _Page(str(response.url))
                page.feed(response.text)
                self.shown.append(page.heading)
                button = next((name for name in self._presses if (name, self._presses[name]) in page.buttons), None)
                if button is None:
                    raise DemoError(f"the browser does not know what to do with {response.url}: {page.heading}")
                form = {**page.fields, button: self._presses[button]}
                response = await http.post(page.action, data=form)
        raise DemoError(f"the browser went in circles at {url}")


class _Page(HTMLParser):
    """The one form of a page, and its first heading."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.action = self._url = url
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []
        self.heading = ""
        self._in_heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = urljoin(self._url, given.get("action", ""))
        elif tag == "input" and "name" in given:
            self.fields[given["name"]] = given.get("value", "")
        elif tag == "button" and "name" in given:
            self.buttons.append((given["name"], given.get("value", "")))
        self._in_heading = tag == "h1"

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.heading += data
            self._in_heading = False
