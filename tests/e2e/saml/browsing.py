"""A person's browser on the way through a SAML provider, as strict as a real one: a post from another site carries no Lax cookie."""

import html
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from tests.e2e.desk import CALLBACK, Browser, Page
from tests.e2e.oidc_provider import Person

MAX_STEPS = 30


class SamlBrowser(Browser):
    """`name`: the person's name at the provider, and password. `idp`: which one is chosen at the desk. `answers`: what the provider had it post."""

    def __init__(self, name: str, *, idp: str = "sso", trusts: Path | None = None, allow: bool = True) -> None:
        super().__init__(Person(sub=name), allow=allow, trusts=trusts, idp=idp)
        self.name = name
        self.answers: list[tuple[str, dict[str, str]]] = []

    def visit(self, url: str, *, stop_at: str = CALLBACK, pause_at: str | None = None) -> Page:
        """As its parent's; `pause_at` "acs": when the provider's answer is to be posted, which is then the last of `answers`."""
        response = self.http.get(url)
        for _ in range(MAX_STEPS):
            if response.is_redirect:
                url = urljoin(str(response.url), response.headers["location"])
                if url.startswith(stop_at) or (pause_at is not None and pause_at in url):
                    return self._page(response, url)
                response = self.http.get(url)
            elif 'name="SAMLResponse"' in response.text:
                action, fields = _form(response.text)
                self.answers.append((urljoin(str(response.url), action), fields))
                if pause_at == "acs":
                    return self._page(response)
                response = self.post_from_elsewhere(*self.answers[-1])
            elif 'name="password"' in response.text:
                self.logins += 1
                action, fields = _form(response.text)
                action = urljoin(str(response.url), action or str(response.url))
                response = self.http.post(
                    action, data=fields | {"username": self.name, "user": self.name, "password": self.name}
                )
            elif 'class="choices"' in response.text:
                response = self.choose(response)
            elif 'name="answer"' in response.text and pause_at != "consent":
                self.clicks += 1
                response = self.submit(self._page(response))
            else:
                return self._page(response)
        raise AssertionError("the browser went in circles")

    def post_from_elsewhere(self, url: str, fields: dict[str, str]) -> Any:
        """A form's post to another site: no cookie of that site goes with it, whatever site it is."""
        request = self.http.build_request("POST", url, data=fields, headers={"origin": "http://localhost"})
        request.headers.pop("cookie", None)
        return self.http.send(request)

    def page_after(self, response: Any, *, pause_at: str | None = None) -> Page:
        """Where a post leads, with cookies again from the next step on."""
        if not response.is_redirect:
            return self._page(response)
        return self.visit(urljoin(str(response.url), response.headers["location"]), pause_at=pause_at)


def _form(text: str) -> tuple[str, dict[str, str]]:
    """The action and the hidden fields of the form on the page that has a field of ours."""
    forms = re.findall(r"<form\b[^>]*>.*?</form>", text, re.DOTALL)
    [form] = [each for each in forms if 'name="SAMLResponse"' in each or 'name="password"' in each]
    action = re.search(r'<form\b[^>]*\baction="([^"]*)"', form)
    fields: dict[str, str] = {}
    for tag in re.findall(r"<input\b[^>]*>", form):
        name, value = re.search(r'\bname="([^"]*)"', tag), re.search(r'\bvalue="([^"]*)"', tag)
        if name is not None and value is not None and 'type="hidden"' in tag:
            fields[html.unescape(name[1])] = html.unescape(value[1])
    return html.unescape(action[1]) if action else "", fields
