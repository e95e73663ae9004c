"""How many files this process may have open: each call takes two, its client's connection and its provider's."""

from __future__ import annotations

import resource
from typing import Final

_WITHOUT_BOUND: Final = 10_240
"""Where a system says that there is no limit, and yet takes no more than this."""


def open_many() -> None:
    """Lets this process have as many files open as the system allows it at all. What a shell or a service manager gives
    to begin with is often 1,024, which lasts for 500 calls at once."""
    begin, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (most, _WITHOUT_BOUND):
        if begin == wanted:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        except (OSError, ValueError):
            continue
        return
