"""An offline upstream: answers in every wire format over real loopback HTTP, with no provider account.

Paths are matched by their end, after any prefix: `/chat/completions`, `/responses`, `/messages`,
`/models/{model}:generateContent` and their kin; the first segment of the prefix names the provider whose flavour of
the format is meant. A user text that says `call the tool NAME` gets a call; `[[…]]` at its beginning asks for delays,
errors and more: see `nexeon.sandbox.directives`.
"""

from nexeon.sandbox.server import SandboxServer

__all__ = ["SandboxServer"]
