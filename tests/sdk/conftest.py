"""`nexeon serve --sandbox` as a process of its own, and the official SDKs as its clients.

Every test that takes `upstream` runs once for each provider in each format that the provider speaks.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from anthropic import Anthropic
from google import genai
from google.genai.types import HttpOptions
from openai import OpenAI
from pydantic import BaseModel

from tests.patience import PATIENCE

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "gateway.yaml"
UPSTREAMS = HERE / "upstreams.yaml"


@dataclass(frozen=True)
class Gateway:
    """A running gateway. `url` has no path; `curl` is the line that it printed."""

    url: str
    key: str = field(repr=False)
    curl: str = field(repr=False)


class City(BaseModel):
    """An answer's form, where the upstream keeps to a JSON schema."""

    name: str
    population: int
    tags: list[str]


class Echo(BaseModel):
    """An answer's form that the offline upstream's plain JSON mode fits."""

    echo: str


@dataclass(frozen=True)
class Upstream:
    """Where the answer comes from. `model` is what the client asks for, `name` what the provider calls it."""

    provider: str
    format: str
    model: str
    name: str

    @property
    def form(self) -> type[City] | type[Echo]:
        """What to ask for as structured output: one provider has a JSON mode only, and no schema there."""
        return Echo if self.provider == "deepseek" else City


def _upstreams() -> list[Upstream]:
    models = yaml.safe_load(UPSTREAMS.read_text())["models"]
    found = []
    for model, facts in models.items():
        target = facts["targets"][0]
        found.append(Upstream(target["provider"], target["format"], model, target["model"]))
    return found


@pytest.fixture(scope="session")
def models() -> list[str]:
    """The model of every upstream."""
    return [upstream.model for upstream in _upstreams()]


@pytest.fixture(params=_upstreams(), ids=lambda upstream: upstream.model)
def upstream(request: pytest.FixtureRequest) -> Upstream:
    chosen: Upstream = request.param
    return chosen


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "store.yaml").write_text(yaml.safe_dump({"store": {"url": f"tinydb:{folder / 'data'}"}}))
    program = Path(sysconfig.get_path("scripts")) / "nexeon"
    files = [argument for file in (SHIPPED, UPSTREAMS, folder / "store.yaml") for argument in ("-c", str(file))]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        command = [str(program), "serve", "--sandbox", "--port", "0", *files]
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, cwd=folder)
    try:
        yield _ready(process, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    said = (folder / "err").read_text()
    assert code == 0, said
    assert "Traceback" not in said, said


def _ready(process: subprocess.Popen[bytes], folder: Path) -> Gateway:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        lines = [line for line in (folder / "out").read_text().split("\n")[:-1] if line.startswith("curl ")]
        if lines:
            words = shlex.split(lines[0])
            url = next(word for word in words if word.startswith("http"))
            key = next(word for word in words if word.startswith("Authorization: Bearer "))
            return Gateway(url.partition("/v1/")[0], key.removeprefix("Authorization: Bearer "), lines[0])
        time.sleep(0.05)
    raise AssertionError(f"the gateway did not start: {(folder / 'err').read_text()}")


@pytest.fixture(scope="session")
def openai(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(scope="session")
def anthropic(gateway: Gateway) -> Iterator[Anthropic]:
    with Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(scope="session")
def google(gateway: Gateway) -> Iterator[genai.Client]:
    with genai.Client(
        api_key=gateway.key, http_options=HttpOptions(base_url=gateway.url, timeout=int(1000 * PATIENCE))
    ) as client:
        yield client


@pytest.fixture(scope="session")
def parameters() -> dict[str, object]:
    """The JSON schema of the arguments of `get_weather`; the offline upstream calls it with city "example", days 1."""
    return {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }
