"""A request whose answer is kept, or that continues one: its body with what was said before, and its answer's end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from nexeon.config import Config, Model
from nexeon.errors import NotFound, RequestError, StoreError
from nexeon.gateway import pipe
from nexeon.gateway.answers.resource import Resource
from nexeon.gateway.answers.shorten import shortened, weight
from nexeon.gateway.validate import invalid
from nexeon.mapping import MISSING
from nexeon.mapping.paths import Path
from nexeon.mapping.seals import close_envelope, make_seal, open_envelope
from nexeon.store.answers import Answer, AnswerStore
from nexeon.wire.json import JSONError, dumps, loads

if TYPE_CHECKING:
    from nexeon.gateway.gateway import Gateway

_log = logging.getLogger("nexeon.gateway")
SUMMARY: Final = "summary"
"""The kind of the envelope that a summary travels in."""

SECURED: Final = "nexeon.request"
"""Where kept events that end an answer which may not be charged yet name its request."""

Item = dict[str, Any]


class Turn:
    """One request and its answer in the client's format.

    `own` is the request without what only the gateway acts on; `body`, what the targets are asked, has the items of the
    answers before it as well, `size` bytes of them. `id` is set where the answer's id was promised, `events` are kept
    where it is `streamed` in the background.
    """

    def __init__(
        self,
        resource: Resource,
        store: AnswerStore,
        account: str,
        body: dict[str, Any],
        chain: list[Answer],
        *,
        keep: bool,
        background: bool,
        room: Callable[[dict[str, Any]], float] | None = None,
        bytes_per_token: float = 4.0,
    ) -> None:
        """`room` gives the tokens that the input may have, from the request without it; None: as it is."""
        request = resource.request
        self.resource = resource
        self.store = store
        self.account = account
        self.keep = keep
        self.background = background
        self.id: str | None = None
        self.previous = chain[-1].id if chain else None
        self.answer: dict[str, Any] | None = None
        self.base: dict[str, Any] = {}
        self.streamed = False
        self.events: list[bytes] = []
        self.changed = asyncio.Event()
        self.done = False
        self._ending: list[bytes] = []
        self._secured = self._saved = False
        self.created = time.time()
        self.size = sum(len(part.input) + len(part.output) for part in chain)
        self._said: list[Item] = resource.make("input", body)
        self._history: list[Item] = [item for part in chain for item in (*loads(part.input), *loads(part.output))]
        for name in ("previous", "background", *(("store",) if keep else ())):
            body = request[name].remove(body)
        self.own = body
        self.raw = [*self._history, *self._said]
        self.items = [self._restored(item) for item in self.raw]
        changed = bool(chain) or self.items != self.raw
        if room is not None:
            calls = {str(path.steps[-1]) for path in resource.format.wire.request.calls}
            short = shortened(self.items, room(request["input"].remove(body)), bytes_per_token, calls)
            changed = changed or len(short) < len(self.items)
            self.items = short
        self.body = request["input"].put(body, self.items) if changed else body
        shown = {"store": keep, "background": background, "previous": self.previous, "body": self.own}
        self._echo: dict[str, Any] = resource.make(
            "echo", {name: value for name, value in shown.items() if value is not None}
        )
        facts = resource.format.wire.stream
        self._answer_of = pipe.getter(resource.answer["event"])
        self._kind_of = pipe.getter(Path(facts.event)) if facts.event else None
        self._number = facts.number

    def _restored(self, item: Item) -> Item:
        """A summary that was made here, as any model can read it."""
        text = self.resource.summary.get(item)
        if type(text) is not str or (seal := open_envelope(text)) is None or seal["kind"] != SUMMARY:
            return item
        restored: Item = self.resource.make("restored", {"text": seal["data"]})
        return restored

    def opening(self, least: int) -> bytes:
        """How the conversation begins: at least so many bytes, where it has them, that stay as it goes on."""
        told = bytearray()
        for item in self.items:
            if len(told) >= least:
                break
            told += dumps(item)
        return bytes(told)

    def lean(self) -> dict[str, Any] | None:
        """The body without the media of earlier turns; None where there are none."""
        said = min(len(self._said), len(self.items))
        history = self.items[: len(self.items) - said]
        leaner = [self.resource.make("lean", item) for item in history]
        if leaner == history:
            return None
        return dict(self.resource.request["input"].put(self.body, [*leaner, *self.items[len(history) :]]))

    def answered(self, raw: bytes) -> bytes:
        """A whole answer as the client gets it."""
        try:
            answer = loads(raw)
        except JSONError:
            return raw
        if not isinstance(answer, dict):
            return raw
        return dumps(self.told(answer))

    def event(self, body: Any, data: bytes) -> bytes:
        """The JSON of a stream's event as the client gets it; `body` is that of the event as it came."""
        if self.streamed:
            event = loads(data)
            if self._kind_of is None or self._kind_of(event) not in self.resource.begun:
                self._tell(event)
            return data
        if self._answer_of(body) is not MISSING:
            event = loads(data)
            answer = self._answer_of(event)
            if isinstance(answer, dict):
                data = dumps(self.resource.answer["event"].put(event, self.told(answer)))
        return data

    def _tell(self, event: dict[str, Any]) -> None:
        """Adds an event to those that are kept."""
        answer = self._answer_of(event)
        if isinstance(answer, dict):
            event = self.resource.answer["event"].put(event, self.told(answer))
        data = dumps(numbered(event, self._number, len(self.events) + len(self._ending)))
        if self.answer is not None:  # told when it is charged
            self._ending.append(data)
            return
        assert self.id is not None
        self.store.append(self.account, self.id, len(self.events), [data])
        self.events.append(data)
        self._notify()

    def begin(self) -> None:
        """The first events of a stream in the background, which do not wait for its answer."""
        self.streamed = True
        for event in self.resource.make("begin", {"answer": self.state("queued")}):
            self._tell(event)

    def left(self, answer: dict[str, Any], calls: Collection[str]) -> None:
        """Notes how far the answer came, of one that will have no end; of these calls it has not all arguments."""
        self.base = self._echoed(self.resource.broken_off(answer, calls))

    def end(self, state: str, message: str = "", maker: Mapping[str, Any] | None = None) -> None:
        """Keeps the answer; one that has no end gets this one, `cancelled` or `failed`."""
        if self.answer is None:
            answer = self.state(state, message)
            if self.streamed:
                for event in self.resource.make(f"ended.{state}", {"answer": answer, "message": message}):
                    self._tell(event)
            self.answer = answer
        self.save(maker)

    async def secure(self, request: str) -> None:
        """Puts the end of an answer in the background where a crash cannot take it, before it is charged as that
        request: it counts once the ledger has the charge."""
        if not self.background or self.id is None or self.answer is None:
            return
        end = [loads(event) for event in self._ending] or [self.resource.answer["event"].put({}, self.answer)]
        self.store.append(self.account, self.id, len(self.events), [dumps({SECURED: request, **one}) for one in end])
        self._secured = True
        await self.store.flush()

    def unpaid(self) -> None:
        """It could not be charged, and is not given."""
        self.answer = None
        self._ending = []

    def finish(self) -> None:
        """Nothing more comes: what was charged is told its end."""
        self.events += self._ending
        if self.id is not None and (self.streamed or (self._secured and self._saved)):
            self.store.append(self.account, self.id, 0, self.events)  # in one piece, which is smaller
        self.done = True
        self._notify()

    def _notify(self) -> None:
        """Wakes who follows: they wait for the event that was there when they last looked."""
        self.changed.set()
        self.changed = asyncio.Event()

    def told(self, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer with what the gateway says of it; one that has ended is the turn's."""
        told = self._echoed(answer)
        if self.resource.answer["status"].get(told) not in self.resource.open:
            self.answer = told
        return told

    def _echoed(self, answer: dict[str, Any]) -> dict[str, Any]:
        told = {**answer, **self._echo}
        if self.id is None:
            return told
        places = self.resource.answer
        told = places["id"].put(told, self.id)
        created = places["created"].get(self.base)
        return told if created is MISSING else dict(places["created"].put(told, created))

    def state(self, name: str, message: str = "") -> dict[str, Any]:
        """The answer as it stands, in one of the states that the resource names."""
        return {**(self.answer or self.base), **self.resource.make(f"states.{name}", {"message": message})}

    @property
    def name(self) -> str | None:
        """The id under which the answer is kept, once it is there."""
        id = self.resource.answer["id"].get(self.answer) if self.keep and self.answer is not None else None
        return id if isinstance(id, str) and id else None

    def save(self, maker: Mapping[str, Any] | None = None, answer: dict[str, Any] | None = None) -> None:
        """Keeps the answer, the turn's own where none is given; `maker` is the context of the target that gave it."""
        answer = answer if answer is not None else self.answer
        if answer is None or not self.keep:
            return
        places = self.resource.answer
        id, output, status = places["id"].get(answer), places["output"].get(answer), str(places["status"].get(answer))
        if not isinstance(id, str) or not id:
            return
        kept = Answer(
            account=self.account,
            id=id,
            created=self.created,
            status=status,
            previous=self.previous,
            body=dumps(answer),
            input=dumps(self._said),
            output=dumps(self._sealed(self.resource.lasting(output, status), maker)),
            background=self.background,
            streamed=self.streamed,
            items=self._ids(output),
        )
        self._saved = self.store.put(kept)
        if not self._saved:
            _log.warning("the answer %s is too large to be kept (%d bytes)", id, kept.size)

    def _ids(self, output: Any) -> tuple[str, ...]:
        found = [self.resource.answer["id"].get(item) for item in output] if isinstance(output, list) else []
        return tuple(id for id in found if isinstance(id, str))

    def _sealed(self, output: list[Item], maker: Mapping[str, Any] | None) -> list[Item]:
        """The output with bare seals in envelopes that say who can read them."""
        if maker is None:
            return output
        field = self.resource.request["input"].text
        body: Any = {field: output}
        for place in self.resource.format.wire.request.seals:
            kind = str(place.path.steps[-1])

            def close(value: Any, kind: str = kind) -> Any:
                if type(value) is not str or not value:
                    return value
                seal = make_seal(value, kind, dict(maker))
                return value if seal is MISSING else close_envelope(seal)

            body = place.path.change(body, close)
        sealed: list[Item] = body[field]
        return sealed


def numbered(event: dict[str, Any], field: str | None, number: int) -> dict[str, Any]:
    return event if field is None else {**event, field: number}


def check_served(resource: Resource, body: dict[str, Any]) -> None:
    """Raises RequestError 400 for what is not served: before a body is told that it lacks what that stands in for."""
    for path, message in resource.refuse:
        if path.get(body) not in (MISSING, None):
            raise invalid(message, path.text, code="unsupported_parameter")


async def begin(
    gateway: Gateway,
    resource: Resource,
    account: str,
    body: dict[str, Any],
    model: Model | None = None,
    *,
    always: bool = False,
) -> Turn | None:
    """None where the request neither continues an answer nor has its own kept, and goes up as it is; `always` makes a
    turn of it all the same. With `model`, a request that wants so is cut to what that can hold.

    Raises RequestError 400 for an answer that this account does not have.
    """
    places = resource.request
    previous = places["previous"].get(body)
    background = places["background"].get(body) is True
    keep = gateway.config.responses.store and places["store"].get(body) is not False
    if background and not keep:
        name = places["background"].text
        raise invalid(f"`{name}` needs the answer to be kept: leave `{places['store'].text}` true", name)
    found = await _looked_up(gateway.answers, resource, account, body)
    room = _room(gateway.config, resource, model) if model is not None and _to_shorten(resource, body) else None
    chain: list[Answer] = []
    if previous not in (MISSING, None):
        chain = await _chain(gateway.answers, account, str(previous), places["previous"])
        if chain[-1].status in resource.open:
            raise invalid(f"the answer '{previous}' is not complete yet", places["previous"].text)
    elif not (keep or always or found is not body or room is not None or _has_summary(resource, body)):
        return None
    return Turn(
        resource,
        gateway.answers,
        account,
        found,
        chain,
        keep=keep,
        background=background,
        room=room,
        bytes_per_token=gateway.config.estimate.bytes_per_token,
    )


async def _looked_up(store: AnswerStore, resource: Resource, account: str, body: dict[str, Any]) -> dict[str, Any]:
    """The request with the items that it only names, and with what the client was not shown of others.

    Raises RequestError 404 for a named one that the account does not have.
    """
    place = resource.request["input"]
    items = place.get(body)
    if not isinstance(items, list):
        return body
    found = [await _whole(store, resource, account, item) for item in items]
    if all(item is given for item, given in zip(found, items, strict=True)):
        return body
    return dict(place.put(body, found))


async def _whole(store: AnswerStore, resource: Resource, account: str, item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    if isinstance(name := resource.make("reference", item), str):
        return await _item(store, resource, account, name)
    if isinstance(name := resource.make("bare", item), str):
        try:
            return await _item(store, resource, account, name)
        except RequestError:  # not one that was made here
            return item
    return item


async def _item(store: AnswerStore, resource: Resource, account: str, id: str) -> Item:
    try:
        answer = await store.holding(account, id)
    except NotFound:
        answer = None
    except StoreError as error:
        raise unavailable() from error
    items = loads(answer.output) if answer is not None else []
    for item in items:
        if resource.answer["id"].get(item) == id:
            return dict(item)
    shown = id if len(id) <= 100 else id[:100] + "…"
    raise RequestError(
        404, "not_found", f"Item with id '{shown}' not found.", resource.request["input"].text, retryable=False
    )


def _to_shorten(resource: Resource, body: dict[str, Any]) -> bool:
    return any(path.get(body) == value for path, value in resource.shorten)


def _has_summary(resource: Resource, body: dict[str, Any]) -> bool:
    items = resource.request["input"].get(body)
    return isinstance(items, list) and any(resource.summary.get(item) is not MISSING for item in items)


def _room(config: Config, resource: Resource, model: Model) -> Callable[[dict[str, Any]], float] | None:
    """What a model's context has left for the input."""
    window = model.context_window
    if window is None:
        return None

    def room(rest: dict[str, Any]) -> float:
        asked = [path.get(rest) for path in resource.format.wire.request.max_tokens]
        limits = [limit for limit in asked if type(limit) is int]
        output = max(limits) if limits else min(model.max_output_tokens or 0, config.estimate.max_output_tokens)
        return window - output - weight(rest, config.estimate.bytes_per_token)

    return room


async def _chain(store: AnswerStore, account: str, id: str, place: Path) -> list[Answer]:
    try:
        return await store.chain(account, id)
    except NotFound:
        shown = id if len(id) <= 100 else id[:100] + "…"
        raise invalid(
            f"Previous response with id '{shown}' not found.",
            place.text,
            code=f"{place.text.removesuffix('_id')}_not_found",
        ) from None
    except StoreError as error:
        raise unavailable() from error


def unavailable() -> RequestError:
    return RequestError(503, "unavailable", "kept answers cannot be read at the moment", code="store_unavailable")
