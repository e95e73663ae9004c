"""The server process: store, mappings, admin socket and app, from start to a graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final, Protocol

import hypercorn.config
import uvloop
from quart import Quart

from nexeon.admin import AdminHTTP, AdminServer, AdminService
from nexeon.admin.socket import shared_sockets
from nexeon.config import Config, load_config
from nexeon.config.differences import kept
from nexeon.errors import ConfigError, LoadError, Problem, StoreLocked
from nexeon.gateway.erase import erase
from nexeon.gateway.explain import Explainer
from nexeon.gateway.gateway import Gateway
from nexeon.gateway.observe.logs import Redaction, configured_secrets, set_up
from nexeon.gateway.observe.watch import Watch
from nexeon.gateway.pool.probe import probe
from nexeon.gateway.server.app import make_app
from nexeon.gateway.server.changes import Watcher
from nexeon.gateway.server.compiled import compile_folders
from nexeon.gateway.server.drain import LAST_CALLS, Ending, drain
from nexeon.gateway.server.files import open_many
from nexeon.gateway.server.garbage import Sparing
from nexeon.gateway.server.listener import Listener
from nexeon.gateway.server.playground import ClientFormats
from nexeon.gateway.server.reload import Reloader
from nexeon.gateway.server.sharing import notice
from nexeon.gateway.server.siblings import Siblings
from nexeon.gateway.server.stall import Patience
from nexeon.gateway.server.workers import Everywhere, Seat, Supervisor
from nexeon.gateway.services import Services
from nexeon.mapping.ahead import at_start
from nexeon.mapping.cache import given
from nexeon.store import Store, open_store
from nexeon.store.requests import RequestLog

_log = logging.getLogger("nexeon.gateway")

_KEPT: Final = {signal.SIGHUP}
"""What comes while the server starts is heard once it has: it would end the process before."""

_COLLECTIONS: Final = (5_000, 5, 40)
"""Garbage is looked for after so many new objects, after so many such looks among older ones, and after so many of
those among all. Requests leave next to none, and by Python's own thresholds each took 20 µs for looks, and the begin of
4,000 streams twice its time, with pauses of a second."""

_STORE_WAIT: Final = 5.0
"""Seconds that a store held by another process (a command that is about to end) is waited for."""


class Overlay(Protocol):
    """What may stand between the configuration and the server, such as an offline upstream."""

    async def start(self, config: Config) -> Config:
        """The configuration to serve instead."""
        ...

    def over(self, config: Config) -> Config:
        """The same for another one, once started."""
        ...

    async def wrap(self, store: Store) -> Store:
        """The store to use instead; closing it closes the given one."""
        ...

    async def listening(self, url: str) -> None:
        """Called once requests are answered at `url`."""
        ...

    async def stop(self) -> None: ...


def serve(
    config: Config,
    *,
    overlay: Overlay | None = None,
    load: Callable[[], Config] | None = None,
    loaded: Config | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM; running requests get `server.drain` seconds to finish. SIGHUP reads the
    configuration again, with `load`; `loaded` is what it gave for `config`, where that is another.

    Raises ConfigError where the address is taken, MappingError, StoreError, AdminError.
    """
    open_many()
    gc.set_threshold(*_COLLECTIONS)
    signal.pthread_sigmask(signal.SIG_BLOCK, _KEPT)
    set_up(config.lines, Redaction(config.lines.redact, partial(configured_secrets, config)))
    if config.server.workers > 1 and overlay is not None:
        print("one process serves this: what is made for its life is in its memory", file=sys.stderr, flush=True)
        config = replace(config, server=replace(config.server, workers=1))
    if words := notice(config):
        _log.warning("%s", words)

    def work(seat: Seat | None = None) -> None:
        nonlocal config, loaded
        if seat is not None and seat.again and load is not None:
            config, loaded = _anew(config, loaded or config, load)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(config, overlay=overlay, load=load, loaded=loaded, seat=seat))

    if config.server.workers > 1:
        Supervisor(config, work).run()
    else:
        work()


async def run(
    config: Config,
    *,
    overlay: Overlay | None = None,
    stop: asyncio.Event | None = None,
    load: Callable[[], Config] | None = None,
    loaded: Config | None = None,
    seat: Seat | None = None,
) -> None:
    """`serve` inside a running event loop. With `stop`, that ends it and signals are left alone. In a `seat` it is one
    of several workers."""
    asyncio.get_running_loop().set_exception_handler(_report)
    loaded = loaded or config
    own_lines = stop is None
    files = config.files
    async with contextlib.AsyncExitStack() as stack:
        if overlay is not None:
            stack.push_async_callback(overlay.stop)
            config = await overlay.start(config)
        with given(await at_start(config.mappings)):
            made = compile_folders(config.mappings)
        listener = stack.enter_context(
            _listen(config.server.host, config.server.port) if seat is None else seat.listener
        )
        store, shared = await _open_store(config, overlay)
        if overlay is not None:
            store = await overlay.wrap(store)
        stack.push_async_callback(store.close)
        log = RequestLog(store.place, **asdict(config.log))
        stack.push_async_callback(log.close)
        services = Services(config, store, log=log)
        services.current = Gateway(config, made, services)
        del made  # it goes with the configuration
        app = make_app(services)
        service = AdminService(store, pool=services.pool, requests=log)
        service.accounts.gone = partial(erase, services.answers, services.repeats)
        stack.push_async_callback(service.close)
        services.admin = service
        service.live.watched = seen = Watch(services, *listener.getsockname()[:2])
        service.playground.formats = ClientFormats(services, seen.url)

        def adopted(gateway: Gateway) -> None:
            config = gateway.config
            service.configure(config, probe=probe(config), explain=Explainer(config))
            token = config.admin.token
            services.admin_http = AdminHTTP(service, token) if token is not None else None
            app.config["MAX_CONTENT_LENGTH"] = config.server.body_limit
            services.trace(config)
            if own_lines:
                set_up(config.lines, services.recorder.redaction)
            if seat is not None:
                seat.takes(config.server.linger + config.server.drain)

        def taken_up(gateway: Gateway) -> None:
            adopted(gateway)
            watcher.switch(on=gateway.config.server.watch)

        adopted(services.current)
        over = overlay.over if overlay is not None else lambda config: config
        reloader = Reloader(services, load or partial(load_config, files), loaded, over=over, adopted=taken_up)
        watcher = Watcher(reloader.files, reloader.by_file)
        service.running = reloader if seat is None else Everywhere(reloader)
        admin = AdminServer(
            service,
            folder=config.store.folder,
            socket=config.admin.socket,
            shared=shared_sockets(config.store.url),
        )
        if seat is not None:
            services.siblings = Siblings(seat.folder, seat.number, seat.count, services.measured)
            await services.siblings.start()
            stack.push_async_callback(services.siblings.stop)
            shared = seat.number == 0
        if shared:
            await admin.start()
            stack.push_async_callback(admin.stop)
        stack.push_async_callback(services.stop, LAST_CALLS)
        ending = Ending(stop)
        if stop is None:
            stack.enter_context(_signals(ending, reloader.soon))
            if seat is not None:
                seat.watch_parent(ending.gently)
        stack.push_async_callback(watcher.stop)
        gc.collect()
        gc.freeze()
        gc.enable()
        sparing = Sparing(lambda: services.running)
        sparing.begin()
        stack.callback(sparing.end)
        await _answer(app, services, listener, ending, overlay, seat, watcher)


def _anew(config: Config, loaded: Config, load: Callable[[], Config]) -> tuple[Config, Config]:
    """What a worker begins with in the place of one that died: what the others have taken up since."""
    try:
        loaded = load()
    except LoadError as error:
        _log.error("the configuration cannot be read again, what was read at the start holds: %s", error)
        return config, loaded
    return kept(config, loaded), loaded


async def _open_store(config: Config, overlay: Overlay | None) -> tuple[Store, bool]:
    """The store, and whether commands may reach it through this process: with an overlay, a store that another process
    holds is done without, so that several can be tried side by side. Raises StoreError."""
    try:
        return await open_store(config.store.url, wait=_STORE_WAIT if overlay is None else 0.0), True
    except StoreLocked as error:
        if overlay is None:
            raise
        print(f"{error}; its own keys are not known here", file=sys.stderr, flush=True)
        return await open_store("memory:"), False


async def _answer(
    app: Quart,
    services: Services,
    sock: socket.socket,
    ending: Ending,
    overlay: Overlay | None,
    seat: Seat | None,
    watcher: Watcher,
) -> None:
    """Until the end, and the drain after it."""
    host, port = sock.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    patience = Patience(lambda: services.current.config.server.send_wait, services.metrics.stalled)
    listener = Listener(app, hypercorn_config(services.current.config), sock, patience)
    await listener.start()
    watcher.switch(on=services.current.config.server.watch)  # its library would hold up what comes first
    try:
        if overlay is not None:
            await overlay.listening(url)
        if seat is None:
            print(f"nexeon answers at {url}", file=sys.stderr, flush=True)
        else:
            seat.ready()
        await ending.begun.wait()
        await drain(listener, services, ending)
    finally:
        await listener.finish()


def hypercorn_config(config: Config) -> hypercorn.config.Config:
    """No limit that could cut a long stream; idle connections outlive the keep-alive of usual clients and proxies."""
    settings = hypercorn.config.Config()
    settings.accesslog = None
    settings.errorlog = logging.getLogger("nexeon.http")
    logging.getLogger("nexeon.http").setLevel(logging.WARNING)
    settings.include_server_header = False
    settings.keep_alive_timeout = 120
    settings.keep_alive_max_requests = 1_000_000_000
    settings.h11_max_incomplete_size = 64 * 1024
    settings.backlog = 1024
    return settings


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The loop's own report, but for connections that were cancelled at the end of the drain."""
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


@contextlib.contextmanager
def _signals(ending: Ending, reload: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGINT: ending.now, signal.SIGTERM: ending.gently, signal.SIGHUP: reload}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _KEPT)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            [Problem(f"cannot listen on {host}:{port}: {reason}; choose another `server.port` or give `--port`")]
        ) from None
    listener.setblocking(False)
    return listener
