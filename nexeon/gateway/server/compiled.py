"""What the mapping and schema folders give, compiled: the part of a configuration that takes long to make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from nexeon.data import data_path
from nexeon.gateway.answers.resource import Resource, load_resources
from nexeon.gateway.partfiles import PartFiles
from nexeon.gateway.server.catalog import load_catalogs
from nexeon.gateway.server.counting import load_counters
from nexeon.gateway.server.router import Endpoint
from nexeon.gateway.validate import RequestValidator, load_validators
from nexeon.mapping import Library, load_library
from nexeon.mapping.schemas import schema_folders

_PARTS = ("formats", "dialects", "resources", "catalogs", "counters")


@dataclass(frozen=True, slots=True)
class Compiled:
    """`files` has the digest of each file that it was made of, by its path; none where that was not asked for."""

    library: Library
    validators: Mapping[str, RequestValidator]
    resources: Mapping[str, Resource]
    endpoints: Sequence[Endpoint]
    files: Mapping[Path, str]
    parts: PartFiles


def compiled(library: Library, files: Mapping[Path, str] | None = None, before: Compiled | None = None) -> Compiled:
    """Everything that goes with a library; of `before`, what is as it was. Raises MappingError."""
    known = before.validators if before is not None else {}
    parts = PartFiles(before.parts if before is not None else None)
    return Compiled(
        library=library,
        validators=load_validators(library.formats, library.folders, known),
        resources=load_resources(library, parts),
        endpoints=[*load_catalogs(library, parts), *load_counters(library, parts)],
        files=files or {},
        parts=parts,
    )


def compile_folders(
    folders: Sequence[Path], before: Compiled | None = None, pause: Callable[[], None] = lambda: None
) -> Compiled:
    """`before` itself where no file of these folders has changed since, else with what has not. `pause` is called now
    and then, for a caller that does this beside other work.

    Raises MappingError with every problem of every file.
    """
    files = digests(folders)
    if before is not None and before.library.folders == tuple(folders) and before.files == files:
        return before
    library = load_library(folders, before=before.library if before is not None else None, pause=pause)
    library.forget_trees()
    return compiled(library, files, before)


def changed_files(folders: Sequence[Path], before: Compiled) -> list[Path]:
    """The files of `source_files` that are not as `before` was made of them."""
    return [path for path, digest in digests(folders).items() if before.files.get(path) != digest]


def digests(folders: Sequence[Path]) -> dict[Path, str]:
    """Of each of `source_files`."""
    return {path: blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in source_files(folders)}


def source_files(folders: Sequence[Path]) -> Iterator[Path]:
    """Every file that these folders, and the shipped schemas, give to a gateway."""
    for folder in folders:
        for part in _PARTS:
            yield from sorted((folder / part).glob("*.yaml"))
    for root in schema_folders(data_path("schemas"), folders):
        yield from sorted(root.glob("formats/*/request.json"))
