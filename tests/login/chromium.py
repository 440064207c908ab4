"""Owns a real browser: headless Chromium, driven over the W3C WebDriver protocol by its own chromedriver.

Debian's packages are `chromium` and `chromium-driver`. Everything it keeps lies in a directory of its own.
"""

import base64
import hashlib
import json
import shutil
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

READY_S = 60.0
PATIENCE_S = 60.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which a WebDriver answer names an element (w3.org/TR/webdriver2, 11)."""
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1000,700",
)


class Chromium:
    """One browser. Its state: chromedriver's process, and the session in it."""

    def __init__(self, place: Path, trusted_url: str) -> None:
        """`trusted_url`: the server whose throw-away certificate this browser is to take, by its public key."""
        self._driver = shutil.which("chromedriver")
        binary = shutil.which("chromium")
        if self._driver is None or binary is None:
            pytest.skip("needs a browser: apt-get install chromium chromium-driver")
        self._binary = binary
        self._place = place
        self._key = _public_key_of(trusted_url)
        self._process: subprocess.Popen[bytes] | None = None
        self._base = ""

    def __enter__(self) -> Self:
        """Start chromedriver on a port of its choice, and a browser in it."""
        assert self._driver is not None
        env = {"HOME": str(self._place), "PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        self._process = subprocess.Popen(
            [self._driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, cwd=self._place
        )
        try:
            self._base = f"http://127.0.0.1:{self._port()}"
            options = {
                "binary": self._binary,
                "args": [
                    *_FLAGS,
                    f"--user-data-dir={self._place / 'profile'}",
                    f"--ignore-certificate-errors-spki-list={self._key}",
                ],
            }
            wanted = {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL"},
                # Nothing waits for a page to be whole: the loopback server answers only when the login is over.
                "pageLoadStrategy": "none",
            }
            session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            self._base += f"/session/{session}"
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End browser and driver."""
        try:
            self._ask("DELETE", "")
        finally:
            self._end()

    def visit(self, url: str) -> None:
        """Open `url` in the tab in front."""
        self._ask("POST", "/url", {"url": url})

    def new_tab(self) -> None:
        """Open another tab, and bring it to the front."""
        handle = self._ask("POST", "/window/new", {"type": "tab"})["handle"]
        self._ask("POST", "/window", {"handle": handle})

    def click(self, selector: str) -> None:
        """Click the element, once it is there; does not wait for what comes of it."""
        self._ask("POST", f"/element/{self._find(selector)}/click", {})

    def text(self, selector: str) -> str:
        """The text of the element as a person sees it, once it is there."""
        return str(self._ask("GET", f"/element/{self._find(selector)}/text"))

    def style(self, selector: str, name: str) -> str:
        """A computed CSS property."""
        return str(self._ask("GET", f"/element/{self._find(selector)}/css/{name}"))

    def title(self) -> str:
        """The tab's title."""
        return str(self._ask("GET", "/title"))

    def address(self) -> str:
        """The tab's address."""
        return str(self._ask("GET", "/url"))

    def back(self) -> None:
        """Press the button that leads to the page before."""
        self._ask("POST", "/back", {})

    def evaluate(self, script: str) -> Any:  # noqa: ANN401 - what the script returns
        """What a script in the page returns."""
        return self._ask("POST", "/execute/sync", {"script": f"return {script}", "args": []})

    def prefer(self, scheme: str) -> None:
        """Be a browser of somebody who likes it `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        command = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
        self._ask("POST", "/goog/cdp/execute", command)

    def complaints(self) -> list[str]:
        """What the browser's console has to say since it was last asked: blocked styles, refused scripts,
        failed loads.
        """
        return [each["message"] for each in self._ask("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path: Path) -> None:
        """Write what is seen, as PNG."""
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def _find(self, selector: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = self._ask("POST", "/elements", {"using": "css selector", "value": selector})
            if found:
                return str(found[0][_ELEMENT])
            if time.monotonic() > deadline:
                raise AssertionError(f"no {selector} came: {self._ask('GET', '/source')[:2000]}")
            time.sleep(0.05)

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - what came over JSON
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, method=method)  # noqa: S310 - our own driver
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - as above
                return json.load(answer)["value"]
        except urllib.error.HTTPError as exc:
            with exc:
                told = json.load(exc)["value"]
            raise AssertionError(f"{method} {path}: {told['message']}") from None

    def _port(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"started successfully on port" in line:
                return int(line.decode().rstrip(".\n").rpartition(" ")[2])
        raise AssertionError("chromedriver ended before it was ready")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(READY_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _public_key_of(url: str) -> str:
    """The hash by which Chromium knows the server's key."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    pem = ssl.get_server_certificate((parts.hostname, parts.port or 443))
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return base64.b64encode(digest).decode()
