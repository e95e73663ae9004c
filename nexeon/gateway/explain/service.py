"""Explaining for whoever asks: `nexeon explain`, and the admin service."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from nexeon.config import Config, Model
from nexeon.errors import ConfigError, Problem
from nexeon.gateway.explain.answers import ExplainedAnswer, explain_answer, explain_stream
from nexeon.gateway.explain.requests import Explained, Tracer, explain_request
from nexeon.gateway.target import Plan, make_plans
from nexeon.gateway.validate import load_validators
from nexeon.mapping import Format
from nexeon.mapping.provenance import Recorder
from nexeon.mapping.trace import TracedLibrary
from nexeon.wire.json import dumps
from nexeon.wire.sse import Event

E = TypeVar("E", Explained, ExplainedAnswer)


class Explainer:
    """Explains for one configuration. Its mappings are compiled for it when they are first asked for, apart from those
    that serve. Calls from several threads wait for one another.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._turn = threading.Lock()
        self._tracer: Tracer | None = None

    def __call__(
        self,
        *,
        model: str,
        format: str,
        request: Any = None,
        response: Any = None,
        events: list[Any] | None = None,
        to: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """As `nexeon explain --json`: a request, or an answer (`response`, or the `events` of a stream; `request` may
        be beside them). Raises LoadError.
        """
        found: Sequence[Explained | ExplainedAnswer]
        if response is not None:
            found = self.answers([model], format, dumps(response), request=request, to=to)
        elif events is not None:
            found = self.streams([model], format, [Event(None, dumps(one)) for one in events], request=request, to=to)
        else:
            found = self.requests([model], format, dumps(request), to=to)
        return [one.view() for one in found]

    def requests(
        self, models: Collection[str], source: str, raw: bytes, *, to: Collection[str] = ()
    ) -> list[Explained]:
        """What the targets of the models get (of every model, where none is named); `to` names providers and formats.

        Raises ConfigError for unknown names, MappingError. A request that is wrong is every target's refusal.
        """
        return self._each(partial(explain_request, raw=raw), models, source, to)

    def answers(
        self,
        models: Collection[str],
        source: str,
        raw: bytes,
        *,
        request: Any = None,
        status: int = 200,
        to: Collection[str] = (),
    ) -> list[ExplainedAnswer]:
        """What a client gets of an answer's body, by target. Raises as `requests`."""
        return self._each(partial(explain_answer, raw=raw, request=request, status=status), models, source, to)

    def streams(
        self,
        models: Collection[str],
        source: str,
        events: list[Event],
        *,
        request: Any = None,
        to: Collection[str] = (),
    ) -> list[ExplainedAnswer]:
        """What a client gets of a stream's events, by target. Raises as `requests`."""
        return self._each(partial(explain_stream, events=events, request=request), models, source, to)

    def _each(
        self,
        explain: Callable[[Tracer, Plan, Format, Model], E],
        models: Collection[str],
        source: str,
        to: Collection[str],
    ) -> list[E]:
        """What there is to explain of each target."""
        with self._turn:
            tracer = self._made()
            client = self._format(tracer, source)
            return [explain(tracer, plan, client, model) for model, plan in self._plans(tracer, models, client, to)]

    def _made(self) -> Tracer:
        if self._tracer is None:
            recorder = Recorder()
            library = TracedLibrary(self._config.mappings, recorder)
            self._tracer = Tracer(library, recorder, {})
        return self._tracer

    def _format(self, tracer: Tracer, name: str) -> Format:
        if name not in tracer.library.names:
            raise _unknown("format", name, tracer.library.names)
        if name not in tracer.validators:
            tracer.validators |= load_validators([name], tracer.library.folders)
        return tracer.library.format(name)

    def _plans(
        self, tracer: Tracer, names: Collection[str], client: Format, to: Collection[str]
    ) -> Iterator[tuple[Model, Plan]]:
        formats = [name for name in to if name in tracer.library.names]
        providers = [name for name in to if name in self._config.providers]
        for name in to:
            if name not in formats and name not in providers:
                raise _unknown("provider or format", name, [*self._config.providers, *tracer.library.names])
        shown: set[tuple[str, str]] = set()
        found = False
        for name in names or self._config.models:
            model = self._config.model(name)
            if model is None:
                raise _unknown("model", name, self._config.models)
            for one in _by_format(self._config, model, formats):
                for plan in make_plans(self._config, tracer.library, one, client):
                    place = (plan.name, plan.format.name)
                    if (providers and plan.name not in providers) or (formats and plan.format.name not in formats):
                        continue
                    if not names and place in shown:
                        continue
                    shown.add(place)
                    found = True
                    yield model, plan
        if not found:
            raise ConfigError([Problem(f"no target of {', '.join(names) or 'any model'} is at {' or '.join(to)}")])


def _by_format(config: Config, model: Model, formats: list[str]) -> list[Model]:
    """The model as it is, or once for each of the formats, its targets those that speak it."""
    if not formats:
        return [model]
    return [
        replace(
            model,
            targets=tuple(
                replace(target, format=name)
                for target in model.targets
                if name in config.providers[target.provider].formats
            ),
        )
        for name in formats
    ]


def _unknown(kind: str, name: str, known: Collection[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(sorted(known))[:300]}"
    return ConfigError([Problem(f"no {kind} `{name}`: {hint}")])
