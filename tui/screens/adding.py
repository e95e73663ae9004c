"""Adds a provider key, masked, and tries it with one cheap call upstream if that is wanted."""

from __future__ import annotations

from typing import Any, Final

from nexeon.errors import NexeonError
from tui import checks
from tui.screens.base import AdminScreen, Answered
from tui.screens.form import Form, FormScreen
from tui.screens.limits import limit_fields, limit_values
from tui.widgets.field import Field

_FORM: Final = "form"
TESTED: Final = "tested:"
_ADDED: Final = "added:"


class AddsProviderKeys(AdminScreen[None]):
    """What tells of the result is a toast, and `load` again."""

    _test_too = False
    _waiting = False

    def action_add(self) -> None:
        known = self.admin.known.get("providers")
        self._waiting = not known
        if known:
            self._add(known)
            self.call_after_refresh(self.ahead)
        else:
            self.ahead()

    def ahead(self) -> None:
        self.run_worker(self._providers(), group=_FORM, exclusive=True)

    async def _providers(self) -> None:
        """The providers there are, none where nothing here knows the configuration."""
        try:
            found = list((await self.admin.link.call("configuration.show")).get("providers") or ())
        except NexeonError:
            found = []
        self.post_message(Answered(_FORM, found))

    def _add(self, providers: list[str]) -> None:
        provider = providers[0] if len(providers) == 1 else ""
        fields = (
            Field("provider", "Provider", provider, "its key under `providers:`", required=True, options=providers),
            Field("secret", "Secret", kind="secret", required=True),
            Field("label", "Label", hint="main"),
            Field("account", "Organisation", "default", "sealed reasoning stays within one"),
            Field("weight", "Weight", "1", check=checks.positive),
            Field("test", "Test it", "true", kind="choice", choices=(("yes", "true"), ("no", "false"))),
            *limit_fields({}),
        )

        def filled(values: dict[str, str]) -> None:
            self._test_too = values["test"] == "true"
            name = f"{values['provider']} {values['label']}".strip()
            limits: dict[str, Any] = {name: value for name, value in limit_values(values).items() if value is not None}
            params: dict[str, Any] = {name: values[name] for name in ("provider", "secret", "label")}
            params |= {"account": values["account"] or "default", "weight": int(values["weight"] or 1)}
            self.ask(_ADDED + name, "provider_keys.add", **params, **limits)

        words = "The secret is kept encrypted and never shown. A test makes one cheap call upstream."
        self.fill(Form("Add a provider key", fields, act="Add", words=words), filled)

    def try_key(self, name: str, id: str) -> None:
        self.ask(TESTED + name, "provider_keys.test", key=id)

    def answered(self, job: str, result: Any) -> None:
        if job == _FORM:
            self.admin.known["providers"] = result
            if self._waiting:
                self._waiting = False
                self._add(result)
            elif isinstance(self.app.screen, FormScreen):
                self.app.screen.offer({"provider": result})
        elif job.startswith(_ADDED):
            name = job.removeprefix(_ADDED)
            self.notify(f"Added {name}", markup=False)
            self.made(result["id"])
            self.load()
            if self._test_too:
                self.try_key(name, result["id"])
        elif job.startswith(TESTED):
            good = result["ok"]
            words = result.get("message") or ("the provider took it" if good else "the provider refused it")
            title = f"{job.removeprefix(TESTED)}: {'works' if good else 'does not work'}"
            self.notify(str(words), title=title, severity="information" if good else "error", timeout=8, markup=False)
            self.load()
        else:
            super().answered(job, result)
