"""The colours: one theme for the dark, one for the light. States are told by words and signs, too."""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

DARK: Final = Theme(
    name="nexeon-dark",
    primary="#2dd4bf",
    secondary="#7aa2f7",
    accent="#f5b556",
    foreground="#d5dce6",
    background="#0e131a",
    surface="#141b24",
    panel="#1c2530",
    success="#56d364",
    warning="#e3b341",
    error="#ff7b72",
    dark=True,
    variables={
        "border": "#2b3746",
        "border-blurred": "#243040",
        "footer-key-foreground": "#2dd4bf",
        "footer-background": "#141b24",
        "block-cursor-background": "#1f3d44",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "bold",
        "input-selection-background": "#2dd4bf 30%",
        "scrollbar": "#2b3746",
        "scrollbar-hover": "#2b3746",
        "scrollbar-active": "#2dd4bf",
        "scrollbar-background": "#0e131a",
        "scrollbar-background-hover": "#0e131a",
        "scrollbar-background-active": "#0e131a",
        "scrollbar-corner-color": "#0e131a",
    },
)
LIGHT: Final = Theme(
    name="nexeon-light",
    primary="#0b7a6f",
    secondary="#2f56c5",
    accent="#a85b00",
    foreground="#1d2733",
    background="#f7f8fa",
    surface="#ffffff",
    panel="#e8ecf1",
    success="#1a7f37",
    warning="#8f6000",
    error="#c0272d",
    dark=False,
    variables={
        "border": "#c4ccd6",
        "border-blurred": "#d5dbe3",
        "footer-key-foreground": "#0b7a6f",
        "footer-background": "#e8ecf1",
        "block-cursor-background": "#c9ebe6",
        "block-cursor-foreground": "#0d1720",
        "block-cursor-text-style": "bold",
        "input-selection-background": "#0b7a6f 25%",
        "scrollbar": "#c4ccd6",
        "scrollbar-hover": "#c4ccd6",
        "scrollbar-active": "#0b7a6f",
        "scrollbar-background": "#f7f8fa",
        "scrollbar-background-hover": "#f7f8fa",
        "scrollbar-background-active": "#f7f8fa",
        "scrollbar-corner-color": "#f7f8fa",
    },
)
