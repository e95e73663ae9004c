"""What is so at the moment at which somebody asks for the measures."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nexeon import __version__
from nexeon.gateway.observe.metrics import Gauge, Sample

if TYPE_CHECKING:
    from nexeon.gateway.services import Services

_PROC: Final = Path("/proc/self")


def gauges(services: Services) -> list[Gauge]:
    """Of the gateway, and of its process."""
    admission = services.admission
    log = services.log
    keys: list[Sample] = [
        ({"provider": name, "state": state}, count)
        for name, provider in sorted(services.current.config.providers.items())
        for state, count in sorted(services.pool.counts(provider).items())
    ]
    circuits: list[Sample] = [
        ({"provider": provider, "target": target}, int(is_open))
        for (provider, target), is_open in sorted(services.health.circuits().items())
    ]
    found: list[Gauge] = [
        ("nexeon_provider_keys", "Provider keys by state.", keys),
        ("nexeon_circuit_open", "Whether a target is left alone because it kept failing.", circuits),
        ("nexeon_requests_running", "Requests under way.", [({}, services.running)]),
        ("nexeon_admission_running", "Generation requests that have been let in.", [({}, admission.running)]),
        ("nexeon_admission_queue", "Generation requests that wait to be let in.", [({}, admission.waiting)]),
        ("nexeon_admission_body_bytes", "Bytes of the bodies of those let in.", [({}, admission.bytes)]),
        ("nexeon_background_running", "Answers that are made in the background.", [({}, len(services.behind.running))]),
        (
            "nexeon_generations",
            "The configuration in force, and those before it with requests.",
            [({}, len(services.retired) + 1)],
        ),
        ("nexeon_draining", "Whether the server is about to end.", [({}, int(services.draining))]),
        (
            "nexeon_request_log_dropped_total",
            "Records that the log of requests could not keep.",
            [({}, log.dropped if log is not None else 0)],
        ),
        ("nexeon_build_info", "The version that runs.", [({"version": __version__}, 1)]),
        ("process_start_time_seconds", "When the gateway started.", [({}, round(services.started, 3))]),
    ]
    return found + _process()


def _process() -> list[Gauge]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    found: list[Gauge] = [
        ("process_cpu_seconds_total", "CPU time of the process.", [({}, round(used.ru_utime + used.ru_stime, 3))])
    ]
    try:
        pages = int((_PROC / "statm").read_bytes().split()[1])
        files = os.stat(_PROC / "fd").st_size or len(os.listdir(_PROC / "fd"))  # the size is 0 before Linux 6.2
    except OSError:
        return found
    return [
        *found,
        ("process_resident_memory_bytes", "Memory of the process.", [({}, pages * resource.getpagesize())]),
        ("process_open_fds", "Open files and connections.", [({}, files)]),
        ("process_max_fds", "So many may be open.", [({}, resource.getrlimit(resource.RLIMIT_NOFILE)[0])]),
    ]
