"""A person at the demonstration: follows redirects and presses the buttons they are told to, by plain HTTP."""

import html
import re
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import httpx2


class PressingBrowser:
    """`presses`: a button's name → its value. `pressed`: those it pressed, in order."""

    def __init__(self, **presses: str) -> None:
        self._presses = presses
        self._http = httpx2.Client(trust_env=False, timeout=15, follow_redirects=False)
        self.pressed: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def visit(self, url: str, stop_at: str | None) -> str:
        """Go on to the first address that begins with `stop_at`, which is not asked for; or, where there is none, to the last page."""
        response = self._http.get(url)
        for _ in range(20):
            if response.is_redirect:
                url = urljoin(str(response.url), response.headers["location"])
                if stop_at is not None and url.startswith(stop_at):
                    return url
                response = self._http.get(url)
                continue
            button = next((name for name in self._presses if name in self._buttons(response.text)), None)
            if button is None:
                assert stop_at is None, (response.status_code, response.text[:600])
                return str(response.url)
            self.pressed.append(button)
            hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', response.text)
            form = {name: html.unescape(value) for name, value in hidden} | {button: self._presses[button]}
            action = re.search(r'<form method="post" action="([^"]+)"', response.text)
            assert action is not None
            response = self._http.post(urljoin(str(response.url), action[1]), data=form)
        raise AssertionError("the browser went in circles")

    def _buttons(self, text: str) -> set[str]:
        return set(re.findall(r'<button name="([^"]+)"', text))
