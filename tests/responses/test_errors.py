"""Every refusal of every endpoint, in the API's own words; and the same ones of every provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import yaml

from .conftest import Api, Upstream
from .judge import Json
from .served import ROOT

TABLE: dict[str, Json] = yaml.safe_load((Path(__file__).parent / "errors.yaml").read_text())
BY_PROVIDER = [name for name in TABLE if name.startswith("the provider ")]
METHODS = ("get", "put", "post", "delete")
ERROR = jsonschema_rs.Draft202012Validator(
    json.loads((ROOT / "schemas/formats/openai.responses/error.json").read_text())
)


@pytest.fixture(scope="module")
def names(api: Api) -> Iterator[dict[str, str]]:
    """What the names in the table stand for."""

    def make(client: httpx.Client, text: str = "Hi", **more: Any) -> Json:
        answer = client.post("/responses", json={"model": "openai:openai.responses", "input": text, **more})
        if more.get("stream"):
            data = next(line for line in answer.text.splitlines() if line.startswith("data: "))
            first: Json = json.loads(data.removeprefix("data: "))["response"]
            return first
        found: Json = answer.json()
        return found

    others = make(api.other)
    made = {
        "$ANSWER": make(api.client)["id"],
        "$CALLED": make(api.client, "[[first-byte 600s]] Hi", background=True)["id"],
        "$DONE": make(api.client, background=True, stream=True)["id"],
        "$OTHERS": others["id"],
        "$ITEM": others["output"][0]["id"],
        "$LONG": "resp_nex-" + "x" * 3000,
    }
    yield made
    assert api.client.post(f"/responses/{made['$CALLED']}/cancel").json()["status"] == "cancelled"


def put_in(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: put_in(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [put_in(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


def send(api: Api, row: Json, names: dict[str, str], model: str) -> httpx.Response:
    method = next(name for name in METHODS if name in row)
    path = row[method]
    for name, meant in names.items():
        path = path.replace(name, meant)
    whose = row.get("as", "client")
    client = getattr(api, whose, api.client)
    headers = {"stranger": {"authorization": "Bearer nex-sk-wrong"}, "nobody": {"authorization": ""}}.get(whose, {})
    if "raw" in row:
        headers = {**headers, "content-type": row.get("type", "application/json")}
        return client.request(method, path, content=row["raw"], headers=headers)
    body = {"model": model, "input": "Hi", **put_in(row["body"], names)} if "body" in row else None
    if body is not None:
        body = {name: value for name, value in body.items() if value != "$NOTHING"}
    return client.request(method, path, json=body, headers=headers)


def check_error(answer: httpx.Response, row: Json) -> None:
    assert answer.status_code == row["status"], answer.text
    assert answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    problems = [error.message for error in ERROR.iter_errors(body)]
    assert problems == []
    error = body["error"]
    assert set(error) == {"type", "message", "param", "code"}
    for name, value in row["error"].items():
        if name == "message":
            assert value in error["message"]
        elif name == "param" and value.endswith("]"):
            assert error["param"].startswith(value)
        else:
            assert error[name] == value, error
    if row["status"] < 429 and "[[" not in json.dumps(row.get("body", "")):
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("name", TABLE)
def test_refused(api: Api, names: dict[str, str], name: str) -> None:
    check_error(send(api, TABLE[name], names, "openai:openai.responses"), TABLE[name])


@pytest.mark.parametrize("name", BY_PROVIDER)
def test_refused_by_the_provider(api: Api, names: dict[str, str], upstream: Upstream, name: str) -> None:
    """Whoever it is; a stream that has not begun is refused the same."""
    row = TABLE[name]
    for streamed in (False, True):
        body = {**row["body"], "stream": streamed or row["body"].get("stream", False)}
        answer = send(api, {**row, "body": body}, names, upstream.model)
        check_error(answer, row)
        assert answer.headers["x-nexeon-provider"] == upstream.provider


def test_nothing_was_lost(api: Api, names: dict[str, str]) -> None:
    """After all these tries, each answer is its owner's still."""
    assert api.client.get(f"/responses/{names['$ANSWER']}").json()["status"] == "completed"
    assert api.client.get(f"/responses/{names['$CALLED']}").json()["status"] == "in_progress"
    assert api.other.get(f"/responses/{names['$OTHERS']}").json()["status"] == "completed"
    assert api.reader.get(f"/responses/{names['$ANSWER']}").status_code == 200
