"""A page in headless Chromium: opened, asked, and listened to.

The browser is told what to do over its debugging protocol, through the
websocket of Tornado, which comes with the extra ``book``. It reaches no
network, and its profile is gone afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # it opens our own pages only, also as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-extensions",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-port=0",
)
SECONDS = 120
"""How long a start, a page or an answer may take, on a busy machine."""


def installed() -> str | None:
    """Return the path of a Chromium that is installed, if there is one."""
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)


class Browser:
    """One page of a browser.

    Attributes
        events: what was reported since the page was opened: requests,
            messages of the console, errors.
    """

    def __init__(self, socket: Any) -> None:
        self._socket, self._asked = socket, 0
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol.

        Raises
            OSError: the browser says no, or is gone.
            TimeoutError: it says nothing.
        """
        self._asked += 1
        told = {"id": self._asked, "method": method, "params": params}
        await self._socket.write_message(json.dumps(told))
        while (answer := await self._next()).get("id") != self._asked:
            self.events.append(answer)
        if "error" in answer:
            raise OSError(f"{method}: {answer['error']['message']}")
        found: dict[str, Any] = answer["result"]
        return found

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS):
            message = await self._socket.read_message()
        if message is None:
            raise OSError("the browser has ended")
        told: dict[str, Any] = json.loads(message)
        return told

    async def size(self, width: int, height: int = 900) -> None:
        """Set the size of the window; what is narrow is a phone."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    async def open(self, path: Path) -> None:
        """Open a file, and wait until it is loaded."""
        self.events.clear()
        await self.call("Page.navigate", url=path.resolve().as_uri())
        while not self._saw("Page.loadEventFired"):
            self.events.append(await self._next())

    def _saw(self, method: str) -> bool:
        return any(event.get("method") == method for event in self.events)

    async def ask(self, script: str) -> Any:
        """Return what an expression of JavaScript is, or resolves to.

        Raises
            OSError: it throws.
        """
        told = await self.call(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in told:
            raise OSError(str(told["exceptionDetails"]))
        return told["result"].get("value")


@contextlib.asynccontextmanager
async def browsing(program: str) -> AsyncIterator[Browser]:
    """Start a browser with one empty page; end it afterwards.

    Arguments
        program: path of Chromium.

    Raises
        OSError: it does not start.
    """
    client: Any = importlib.import_module("tornado.websocket")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        started = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            socket = await client.websocket_connect(
                await _address(started, Path(profile)),
                max_message_size=2**28,
            )
            try:
                page = Browser(socket)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.call(f"{domain}.enable")
                yield page
                await page.call("Browser.close")
                async with asyncio.timeout(SECONDS):
                    while await socket.read_message() is not None:
                        pass  # until the other end has hung up
            finally:
                socket.close()
        finally:
            _end(started)


async def _address(started: subprocess.Popen[bytes], profile: Path) -> str:
    """Return where the first page listens."""
    told = profile / "DevToolsActivePort"
    for _ in range(SECONDS * 10):
        if started.poll() is not None:
            raise OSError(f"the browser ended with {started.returncode}")
        if told.is_file() and (lines := told.read_text().split()):
            with urllib.request.urlopen(
                f"http://127.0.0.1:{lines[0]}/json/list"
            ) as answer:
                tabs = json.load(answer)
            for tab in tabs:
                if tab["type"] == "page":
                    return str(tab["webSocketDebuggerUrl"])
        await asyncio.sleep(0.1)
    raise OSError(f"the browser said nothing for {SECONDS} s")


def _end(started: subprocess.Popen[bytes]) -> None:
    try:
        started.wait(10)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
