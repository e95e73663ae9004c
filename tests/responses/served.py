"""The real program as a process of its own, on a store folder, started again and again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from nexeon.data import data_path
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]


class Served:
    """`nexeon serve --sandbox` with the shipped configuration and more files; `url` ends with /v1 and changes with
    every start."""

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self.folder = folder
        self.files = [part for file in (data_path("gateway.yaml"), *files) for part in ("-c", str(file))]
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> None:
        command = [sys.executable, "-m", "nexeon.cli", "serve", "--sandbox", "--port", "0", *self.files]
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        environment["PYTHONPATH"] = str(ROOT)
        with (self.folder / "errors.txt").open("w") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, cwd=self.folder
            )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(3)]
        assert lines[2].startswith("curl"), (self.folder / "errors.txt").read_text()
        url = httpx.URL(next(word for word in lines[2].split() if word.startswith("http")))
        self.url = str(url.copy_with(path="/v1"))

    def end(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE)
