"""Owns a small browser: opens a consent page, presses a button, follows the redirect to the loopback page.

As a program it stands where `$BROWSER` names it: `python -m tests.fake_bitbucket.browser --ca FILE URL`. It knows
HTML forms and no more, so it works only as long as the page is one that every browser can work.
"""

import argparse
import contextlib
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

TIMEOUT_S = 60


class Form(HTMLParser):
    """The first form of a page. Its state: where it goes, its fields, and its buttons by their id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.buttons: dict[str, tuple[str, str]] = {}
        self.options: list[str] = []
        self._in_option = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what a browser would submit."""
        given = {name: value or "" for name, value in attrs}
        self._in_option = tag == "option"
        if tag == "form":
            self.action = given.get("action", "")
        elif tag == "input":
            self.fields[given["name"]] = given.get("value", "")
        elif tag == "button":
            self.buttons[given["id"]] = (given["name"], given["value"])

    def handle_data(self, data: str) -> None:
        """The text of an option is its value."""
        if self._in_option:
            self.options.append(data)
            self._in_option = False


def decide(url: str, ca_file: str, *, button: str = "grant", account: str = "alice", proxy: str = "") -> str:
    """Open the consent page at `url` and press a button; returns the address that the browser is sent to.

    Raises RuntimeError with the page's text where there is no form, as for a consumer that is not known.
    """
    with requests.Session() as session:
        session.trust_env = False
        session.verify = ca_file
        session.proxies = {"https": proxy} if proxy else {}
        if url.startswith("http://"):  # the login's start page
            url = session.get(url, timeout=TIMEOUT_S, allow_redirects=False).headers["Location"]
        page = session.get(url, timeout=TIMEOUT_S, allow_redirects=False)
        if page.is_redirect:
            return page.headers["Location"]
        form = Form(page.text)
        if button not in form.buttons or account not in form.options:
            raise RuntimeError(f"{page.status_code}: {page.text}")
        name, value = form.buttons[button]
        fields = {**form.fields, "account": account, name: value}
        answer = session.post(urljoin(url, form.action), data=fields, timeout=TIMEOUT_S, allow_redirects=False)
        return answer.headers["Location"]


def main() -> None:
    """Press the button, then visit the address that it leads to; a callback may hang up early."""
    parser = argparse.ArgumentParser(prog="python -m tests.fake_bitbucket.browser")
    parser.add_argument("--ca", required=True)
    parser.add_argument("--proxy", default="", help="for the consent page; the loopback page needs none")
    parser.add_argument("--button", default="grant", choices=("grant", "deny"))
    parser.add_argument("--account", default="alice")
    parser.add_argument("url")
    options = parser.parse_args()
    target = decide(options.url, options.ca, button=options.button, account=options.account, proxy=options.proxy)
    with requests.Session() as session, contextlib.suppress(requests.ConnectionError):
        session.trust_env = False
        session.get(target, timeout=TIMEOUT_S, allow_redirects=False)


if __name__ == "__main__":
    main()
