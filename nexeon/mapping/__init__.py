"""The mapping language: YAML and Jinja expressions, compiled to Python (`mappings/README.md` teaches it)."""

from nexeon.mapping.context import new_context
from nexeon.mapping.dialect import Dialect, ModelDialect
from nexeon.mapping.format import Format
from nexeon.mapping.library import Library, load_library
from nexeon.mapping.missing import MISSING
from nexeon.mapping.ordering import StreamEncoder
from nexeon.mapping.stream import StreamDecoder

__all__ = [
    "MISSING",
    "Dialect",
    "Format",
    "Library",
    "ModelDialect",
    "StreamDecoder",
    "StreamEncoder",
    "load_library",
    "new_context",
]
