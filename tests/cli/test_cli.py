"""The commands as scripts and people use them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nexeon.cli import main
from nexeon.config import Idempotency
from nexeon.errors import AdminError, NotFound
from nexeon.gateway.observe.metrics import Metrics
from nexeon.gateway.repeats.idempotency import Claim, Kept, Repeats
from nexeon.store import open_store
from nexeon.store.answers import Answer, SQLiteAnswers
from nexeon.store.requests import RequestLog
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment with a provider; it is the working folder's, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXEON_SECRET_KEY", raising=False)
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "store: {url: 'tinydb:./store'}\n"
        "providers:\n"
        "  openai:\n"
        "    base_url: http://127.0.0.1:9\n"
        "    formats: [openai.chat]\n"
        '    auth: {header: Authorization, value: "Bearer {{ key }}"}\n'
        "    dialect: openai\n"
    )
    return path


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=input, prog_name="nexeon")


def data(*arguments: str, input: str | None = None) -> Any:
    result = run(*arguments, "--json", input=input)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def words(*arguments: str, input: str | None = None) -> str:
    result = run(*arguments, input=input)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refusal(*arguments: str, input: str | None = None, status: int = 1) -> str:
    result = run(*arguments, input=input)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    return result.stderr


def test_an_account_gets_credit_and_a_key(config: Path) -> None:
    made = data("accounts", "create", "--name", "acme")
    assert list(made) == ["id"]
    entry = data("credits", "add", "acme", "12.50")
    assert (entry["kind"], entry["amount"], entry["balance"], entry["account"]) == (
        "grant",
        "12.50",
        "12.50",
        made["id"],
    )
    key = data("keys", "create", "--account", made["id"], "--name", "laptop")
    assert list(key) == ["id", "key"]
    assert key["key"].startswith("nex-sk-")
    assert key["key"] not in words("keys", "list") + words("keys", "show", "laptop")
    for path in (config.parent / "store").iterdir():
        assert key["key"].encode() not in path.read_bytes()


def test_the_options_stand_anywhere_after_the_verb(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data("accounts", "create", "--name", "acme")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    file = str(config)
    for arguments in (
        ("accounts", "list", "-c", file, "--json"),
        ("accounts", "--json", "-c", file, "list"),
        ("accounts", "-c", file, "list", "--json"),
        ("accounts", "--json", "list", "--config", file),
        ("-c", file, "accounts", "list", "--json"),
    ):
        result = run(*arguments)
        assert [each["name"] for each in json.loads(result.stdout)] == ["acme"]
    for arguments in (
        ("accounts", "show", "-c", file, "acme", "--json"),
        ("accounts", "show", "acme", "--json", "-c", file),
        ("accounts", "-c", file, "show", "--json", "acme"),
    ):
        assert json.loads(run(*arguments).stdout)["name"] == "acme"


def test_files_are_merged_in_the_order_of_the_line(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("store: {url: 'tinydb:./second'}\n")
    words("accounts", "-c", str(config), "create", "--name", "acme", "-c", str(other))
    assert (tmp_path / "second").is_dir()
    assert not (tmp_path / "store").exists()


def test_an_account_that_is_deleted_leaves_no_answers(config: Path) -> None:
    made, other = (data("accounts", "create", "--name", name)["id"] for name in ("acme", "apex"))
    place = config.parent / "store"

    async def answered() -> None:
        answers, repeats = SQLiteAnswers(place), Repeats(Idempotency(), place, Metrics())
        for account in (made, other):
            assert answers.put(Answer(account, "resp_1", time.time(), "completed", None, b"{}", b"[]", b'["said"]'))
            claim = await repeats.claim(account, "once", "/x", b"{}")
            assert isinstance(claim, Claim)
            await claim.keep(Kept(zlib.compress(b"said"), "text/plain", {}))
        await repeats.close()
        await answers.close()

    async def kept(account: str) -> tuple[bool, bool]:
        answers, repeats = SQLiteAnswers(place), Repeats(Idempotency(), place, Metrics())
        again = await repeats.claim(account, "once", "/x", b"{}")
        try:
            found = (await answers.get(account, "resp_1")).id == "resp_1"
        except NotFound:
            found = False
        await repeats.close()
        await answers.close()
        return found, isinstance(again, Kept)

    asyncio.run(answered())
    data("accounts", "delete", "acme")
    assert asyncio.run(kept(made)) == (False, False)
    assert asyncio.run(kept(other)) == (True, True)


def test_an_accounts_life(config: Path) -> None:
    made = words("accounts", "create", "--name", "acme").strip()
    assert made.startswith("acc_")
    shown = words("accounts", "show", made)
    assert "balance      0.00\n" in shown
    assert data("accounts", "update", "acme", "--name", "apex")["name"] == "apex"
    assert data("accounts", "disable", "apex")["disabled"] is True
    assert data("accounts", "update", "apex", "--enable")["disabled"] is False
    assert "nothing to update" in refusal("accounts", "update", "apex", status=2)
    listed = words("accounts", "list").splitlines()
    assert listed[0].split() == ["ID", "NAME", "BALANCE", "RESERVED", "AVAILABLE", "LOW", "DISABLED", "CREATED"]
    assert listed[1].split()[:3] == [made, "apex", "0.00"]
    assert data("accounts", "delete", "apex") == {"id": made, "deleted": True}
    assert refusal("accounts", "show", "apex") == "nexeon: no account `apex`\n"
    assert "accounts create" in refusal("accounts", "list", status=0)


def test_a_keys_life(config: Path) -> None:
    words("accounts", "create", "--name", "acme")
    made = data(
        *("keys", "create", "--account", "acme", "--name", "k", "--models", "a*,b", "--scopes", "read", "--rpm", "5"),
        *("--tpm", "1000", "--concurrency", "2", "--expires", "2999-12-31"),
    )
    shown = data("keys", "show", made["id"])
    assert (shown["models"], shown["scopes"], shown["rpm"], shown["tpm"], shown["concurrency"], shown["expires"]) == (
        ["a*", "b"],
        ["read"],
        5,
        1000,
        2,
        "2999-12-31T00:00:00.000Z",
    )
    changed = data("keys", "update", "k", "--rpm", "none", "--models", "none", "--expires", "none", "--name", "none")
    assert (changed["rpm"], changed["models"], changed["expires"], changed["tpm"]) == (None, [], None, 1000)
    assert changed["name"] == "none"
    second = data("keys", "rotate", made["id"], "--overlap", "60")
    assert second["id"] == made["id"]
    assert second["key"] != made["key"]
    assert data("keys", "disable", made["id"])["state"] == "disabled"
    assert data("keys", "update", made["id"], "--enable")["state"] == "active"
    assert [each["id"] for each in data("keys", "list", "--account", "acme")] == [made["id"]]
    secret = words("keys", "rotate", made["id"]).strip()
    assert secret.startswith("nex-sk-")
    assert words("keys", "delete", made["id"]) == made["id"] + "\n"
    assert data("keys", "list") == []


def test_credit_goes_up_and_down_exactly(config: Path) -> None:
    words("accounts", "create", "--name", "acme")
    words("credits", "add", "acme", "0.1", "--reason", "welcome")
    words("credits", "refund", "acme", "0.2", "--request", "req_1")
    assert words("credits", "adjust", "acme", "-0.299999999") == (
        "adjustment -0.299999999 USD, balance 0.000000001 USD\n"
    )
    assert "0.000000001 USD available" in refusal("credits", "adjust", "acme", "-5")
    assert "finer than a nano-dollar" in refusal("credits", "add", "acme", "0.1234567891")
    ledger = data("credits", "ledger", "acme")
    assert [each["amount"] for each in ledger] == ["-0.299999999", "0.20", "0.10"]
    assert [each["amount"] for each in data("credits", "ledger", "acme", "--limit", "1")] == ["-0.299999999"]
    assert "welcome" in words("credits", "ledger", "acme")


def test_a_provider_keys_life(config: Path) -> None:
    made = data("provider-keys", "add", "openai", "--account", "org", "--label", "main", input="sk-very-secret-12345\n")
    assert list(made) == ["id"]
    listed = words("provider-keys", "list")
    assert "org" in listed
    assert "2345" in listed
    assert "very-secret" not in listed
    for path in (config.parent / "store").iterdir():
        assert b"very-secret" not in path.read_bytes()
    assert data("provider-keys", "disable", "main")["enabled"] is False
    assert data("provider-keys", "enable", made["id"])["enabled"] is True
    assert data("provider-keys", "update", "main", "--weight", "3")["weight"] == 3
    assert words("provider-keys", "delete", made["id"]) == made["id"] + "\n"
    assert data("provider-keys", "list", "--provider", "openai") == []


def test_what_is_wrong_is_said_on_stderr_with_the_status(config: Path) -> None:
    assert "did you mean `openai`?" in refusal("provider-keys", "add", "opnai", input="s")
    assert "no secret came from stdin" in refusal("provider-keys", "add", "openai", input="")
    assert refusal("keys", "create", "--account", "none", "--name", "k") == "nexeon: no account `none`\n"
    assert "'--rpm'" in refusal("keys", "create", "--account", "a", "--name", "k", "--rpm", "x", status=2)
    assert "did you mean `accounts`?" in refusal("acounts", status=2)
    assert "--name" in refusal("accounts", "create", status=2)
    config.write_text("stor: {}\n")
    assert "gateway.yaml:1" in refusal("accounts", "list")
    assert "missing.yaml" in refusal("accounts", "list", "-c", "missing.yaml")


def test_the_terminal_is_opened_on_the_store_or_far_away(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, str]] = []

    def run(connect: Any) -> None:
        async def look() -> None:
            client = await connect()
            opened.append((client.where, client.place))
            if client.where == "store":
                with pytest.raises(AdminError, match="no format `none`"):
                    await client.call("explain", model="m", format="none", request={})
            await client.close()

        asyncio.run(look())

    monkeypatch.setattr("tui.app.run", run)
    assert "needs a terminal" in refusal("tui")
    monkeypatch.setattr("nexeon.cli.tui.on_terminal", lambda: True)
    words("tui")
    words("tui", "--url", "http://far/", "--token", "t")
    assert opened[0][0] == "store"
    assert opened[0][1].startswith("tinydb:")
    assert opened[1] == ("gateway", "http://far")


GATEWAY = """
import asyncio, sys
from pathlib import Path
from nexeon.admin import AdminServer, AdminService
from nexeon.config import load_config
from nexeon.store import open_store

async def main():
    config = load_config([Path(sys.argv[1])])
    store = await open_store(config.store.url)
    async def probe(key, secret):
        return {"ok": secret == "good-secret-123456", "message": "tried"}
    server = AdminServer(AdminService(store, config, probe=probe), folder=config.store.folder)
    await server.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await server.stop()
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
def gateway(config: Path) -> Iterator[int]:
    """The pid of a process that holds the store and serves its admin socket."""
    process = subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process.pid
    process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 0


def test_beside_a_gateway_the_same_commands_act_through_it(config: Path, gateway: int) -> None:
    words("accounts", "create", "--name", "acme")
    words("credits", "add", "acme", "1")
    assert data("accounts", "list")[0]["balance"] == "1.00"
    assert refusal("accounts", "show", "x") == "nexeon: no account `x`\n"
    key = data("provider-keys", "add", "openai", input="good-secret-123456\n")["id"]
    assert data("provider-keys", "test", key) == {"id": key, "ok": True, "message": "tried"}
    bad = data("provider-keys", "add", "openai", input="bad-secret-1234567\n")["id"]
    result = run("provider-keys", "test", bad, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False
    assert (config.parent / "store" / "store.lock").read_text().startswith(f"{gateway} ")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from nexeon.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'yaml', 'tinydb', 'quart', 'httpx', 'textual', 'cryptography', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert "provider-keys" in done.stdout


def test_wallets_with_expiry_overdraft_and_budgets(config: Path) -> None:
    made = data("accounts", "create", "--name", "acme", "--overdraft", "1", "--soft-limit", "5")
    assert words("credits", "add", "acme", "3", "--expires", "2999-12-31").startswith("grant 3.00 USD")
    shown = data("accounts", "show", made["id"])
    assert (shown["available"], shown["overdraft"], shown["low"]) == ("4.00", "1.00", True)
    assert data("accounts", "update", "acme", "--soft-limit", "none")["low"] is False
    assert data("credits", "ledger", "acme")[0]["expires"] == "2999-12-31T00:00:00.000Z"
    assert "is past" in refusal("credits", "add", "acme", "3", "--expires", "2001-01-01")
    data("keys", "create", "--account", "acme", "--name", "k", "--budget", "2.50", "--period", "month")
    key = data("keys", "show", "k")
    assert (key["budget"], key["period"], key["spent"], key["left"]) == ("2.50", "month", "0.00", "2.50")
    key = data("keys", "update", "k", "--budget", "none", "--period", "none")
    assert (key["budget"], key["period"], key["resets"]) == (None, None, None)
    assert "give day, week or month" in refusal("keys", "update", "k", "--period", "year")
    assert "no scope `all`" in refusal("keys", "update", "k", "--scopes", "all")


def test_limits_of_accounts_keys_and_provider_keys(config: Path) -> None:
    limits = ("--rpm", "5", "--tpm", "600", "--rpd", "7", "--tpd", "8000", "--concurrency", "9")
    told = {"rpm": 5, "tpm": 600, "rpd": 7, "tpd": 8000, "concurrency": 9}
    data("accounts", "create", "--name", "acme", *limits)
    data("keys", "create", "--account", "acme", "--name", "k", *limits)
    made = data("provider-keys", "add", "openai", *limits, input="secret")
    shown = [
        data("accounts", "show", "acme"),
        data("keys", "show", "k"),
        next(each for each in data("provider-keys", "list") if each["id"] == made["id"]),
    ]
    for record in shown:
        assert {name: record[name] for name in told} == told
    for group, name in (("accounts", "acme"), ("keys", "k"), ("provider-keys", made["id"])):
        changed = data(group, "update", name, "--rpm", "none", "--tpd", "1")
        assert {each: changed[each] for each in told} == {**told, "rpm": None, "tpd": 1}


def test_usage_requests_audit_and_status(config: Path) -> None:
    assert "nothing was used" in refusal("usage", status=0)
    assert "no requests yet" in refusal("requests", "list", status=0)
    assert "nothing was changed yet" in refusal("audit", "list", status=0)
    made = data("accounts", "create", "--name", "acme", "--soft-limit", "1")
    words("credits", "add", "acme", "0.5")

    async def fill() -> None:
        folder = config.parent / "store"
        store = await open_store(f"tinydb:{folder}")
        held = await store.reserve(made["id"], "key_1", 9, ttl=60, detail={"model": "m", "request": "req_1"})
        await store.settle(held, 9, detail={"provider": "p", "usage": {"input": 3}})
        await store.close()
        log = RequestLog(folder)
        log.record({"id": "req_1", "account": made["id"], "model": "m", "status": 200, "cost": 9})
        await log.close()

    asyncio.run(fill())
    assert data("usage", "--by", "model,account")[0] | {"account": ""} == {
        "model": "m",
        "account": "",
        "requests": 1,
        "estimated": 0,
        "cost": "0.000000009",
        "uncollected": "0.00",
        "input": 3,
        "cached_input": 0,
        "cache_write": 0,
        "cache_write_1h": 0,
        "output": 0,
        "reasoning": 0,
        "web_searches": 0,
    }
    assert (
        data("usage", "--account", "acme", "--by", "key") == data("usage", "--account", made["id"], "--by", "key") != []
    )
    assert words("usage").splitlines()[0].split()[:3] == ["DAY", "REQUESTS", "INPUT"]
    assert [row["id"] for row in data("requests", "list", "--model", "m", "--since", "2020-01-01")] == ["req_1"]
    assert data("requests", "list", "--status", "402") == []
    assert "no such requests" in refusal("requests", "list", "--status", "402", status=0)
    assert "no such change" in refusal("audit", "list", "--method", "keys.rotate", status=0)
    assert data("requests", "show", "req_1")["cost"] == "0.000000009"
    assert "no request `req_2` in the log" in refusal("requests", "show", "req_2")
    audited = data("audit", "list")
    assert [row["method"] for row in audited] == ["credits.add", "accounts.create"]
    assert words("audit", "list", "--limit", "1").splitlines()[1].split()[0] == audited[0]["id"]
    result = run("status")
    assert "tinydb:" in result.stdout
    assert "warning: account `acme` has" in result.stderr


def test_a_gateway_far_away_is_asked_with_a_token(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEXEON_ADMIN_TOKEN", raising=False)
    assert "NEXEON_ADMIN_TOKEN" in refusal("accounts", "list", "--url", "http://127.0.0.1:9")
    assert "cannot be reached" in refusal("accounts", "list", "--url", "http://127.0.0.1:9", "--token", "x" * 20)
    assert "no URL" in refusal("accounts", "list", "--url", "gateway", "--token", "x" * 20)
