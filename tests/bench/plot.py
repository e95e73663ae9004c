"""CPU of each case beside a bare echo's, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

SHOWN = (
    "JSON, chat",
    "JSON, chat to messages",
    "JSON, messages to chat",
    "burst, chat",
    "burst, messages to chat",
    "8 paced streams, chat",
    "32 paced streams, chat",
    "32 paced streams, messages to chat",
)
COLOURS = {"nginx": "#9aa5b1", "echo": "#5b8def", "nexeon": "#1f9d6b", "litellm": "#d9822b", "portkey": "#8d6cab"}
WIDTH, LABEL, BAR, GAP, WORDS = 820, 240, 13, 14, 150


def plot(table: Mapping[str, Mapping[str, float]]) -> str:
    """An SVG with a bar for every peer of the best known cases: times a bare echo's CPU, cut at eight times."""
    rows: list[str] = []
    y = 30
    most = 8.0
    scale = (WIDTH - LABEL - WORDS) / most
    for name in SHOWN:
        peers = table.get(name)
        if peers is None or not peers.get("echo"):
            continue
        rows.append(f'<text x="{LABEL - 10}" y="{y + BAR}" text-anchor="end">{escape(name)}</text>')
        for peer, colour in COLOURS.items():
            if peer not in peers:
                continue
            ratio = peers[peer] / peers["echo"]
            width = max(min(ratio, most) * scale, 1)
            words = f"{ratio:.2f}× ({peers[peer]:.0f} µs)"
            rows.append(f'<rect x="{LABEL}" y="{y}" width="{width:.0f}" height="{BAR}" fill="{colour}"/>')
            rows.append(f'<text x="{LABEL + width + 6:.0f}" y="{y + BAR - 2}" class="v">{peer} {words}</text>')
            y += BAR + 2
        y += GAP
    style = "text{font:12px sans-serif;fill:#444}.v{font-size:10px}"
    title = "CPU of the whole server process for a request, or for an event of a paced stream, beside a bare echo"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">'
    return f'{head}<style>{style}</style><text x="10" y="16">{title}</text>{"".join(rows)}</svg>\n'
