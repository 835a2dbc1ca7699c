"""A headless Chromium, driven over a pipe by its DevTools protocol; nothing to install beside it.

Source: the protocol's own pages, chromedevtools.github.io/devtools-protocol; with
--remote-debugging-pipe it is spoken as JSON ended by a zero byte, on file descriptors 3 and 4.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe",
]  # fmt: skip
# puts the pipe's ends where the protocol wants them; a shell knows no numbers over 9
ON_3_AND_4 = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD_CLOEXEC, 10) for number in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
NAMES = ("chromium", "chromium-browser", "google-chrome")


def found() -> str | None:
    """The program, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One page of a fresh browser; ``errors`` and ``addresses`` gather what it said and asked."""

    def __init__(self, size: tuple[int, int] = (1280, 860)) -> None:
        self._folder = tempfile.mkdtemp(prefix="tetrapose-chromium-")
        there, self._out = os.pipe()
        self._in, back = os.pipe()
        program = found()
        assert program, "no Chromium"
        self._process = subprocess.Popen(
            [sys.executable, "-ISc", ON_3_AND_4, str(there), str(back), program, *FLAGS,
             f"--user-data-dir={self._folder}", f"--window-size={size[0]},{size[1]}",
             "about:blank"],
            pass_fds=(there, back), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        os.close(there)
        os.close(back)
        self._read, self._number = b"", 0
        self.errors: list[str] = []
        self.addresses: list[str] = []
        pages = self._call("Target.getTargets", None, {})["targetInfos"]
        page = next(one["targetId"] for one in pages if one["type"] == "page")
        told = self._call("Target.attachToTarget", None, {"targetId": page, "flatten": True})
        self._session = told["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command to the page."""
        return self._call(method, self._session, parameters)

    def run(self, script: str) -> Any:
        """The value of an expression in the page, promises waited for."""
        told = self.do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            thrown = told["exceptionDetails"].get("exception", {})
            raise AssertionError(thrown.get("description") or told["exceptionDetails"]["text"])
        return told["result"].get("value")

    def until(self, script: str, seconds: float = 60) -> Any:
        """The expression's value as soon as it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(script)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {script}")

    def open(self, address: str) -> None:
        """Load a page; its address as it stands, fragment included, is loaded anew."""
        self.do("Page.navigate", url="about:blank")
        self.do("Page.navigate", url=address)

    def give(self, selector: str, path: Path) -> None:
        """Choose a file in a file input."""
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        node = self.do("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.do("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def mouse(self, kind: str, x: float, y: float) -> None:
        """mousePressed, mouseMoved or mouseReleased with the left button."""
        held = 0 if kind == "mouseReleased" else 1
        self.do(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1,
            buttons=held,
        )  # fmt: skip

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 12) -> None:
        """Press, move in steps, let go."""
        self.mouse("mousePressed", *start)
        for i in range(1, steps + 1):
            at = [a + (b - a) * i / steps for a, b in zip(start, end, strict=True)]
            self.mouse("mouseMoved", *at)
        self.mouse("mouseReleased", *end)

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """touchStart, touchMove or touchEnd with these fingers down."""
        fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        self.do("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)

    def press(self, key: str, *, shift: bool = False, control: bool = False) -> None:
        """One key down and up; letters as small letters."""
        codes = {"Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
                 "ArrowDown": 40, "Delete": 46, "Enter": 13}  # fmt: skip
        given: dict[str, Any] = {
            "key": key,
            "code": key if key in codes else f"Key{key.upper()}",
            "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper())),
            "modifiers": 8 * shift + 2 * control,
        }
        typed = {} if key in codes or control else {"text": key}
        self.do(
            "Input.dispatchKeyEvent", type="keyDown" if typed else "rawKeyDown", **given, **typed
        )
        self.do("Input.dispatchKeyEvent", type="keyUp", **given)

    def shot(self, path: Path) -> None:
        """A picture of what is shown."""
        data = self.do("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """End the browser and all that belongs to it."""
        try:
            self._send("Browser.close", None, {})
            self._process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        finally:
            os.close(self._in)
            os.close(self._out)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _send(self, method: str, session: str | None, parameters: dict[str, Any]) -> None:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")

    def _call(self, method: str, session: str | None, parameters: dict[str, Any]) -> dict[str, Any]:
        self._send(method, session, parameters)
        while True:
            told = self._next()
            if told.get("id") == self._number:
                if "error" in told:
                    raise AssertionError(f"{method}: {told['error']['message']}")
                return told["result"]
            self._note(told)

    def _next(self, seconds: float = 90) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self._read:
            if not select.select([self._in], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError("the browser does not answer")
            part = os.read(self._in, 1 << 20)
            if not part:
                raise AssertionError("the browser has ended")
            self._read += part
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.addresses.append(told["request"]["url"])
