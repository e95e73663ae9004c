import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexeon.errors import RequestError
from nexeon.sandbox.directives import Directives, parse


@pytest.mark.parametrize(
    ("text", "expected", "rest"),
    [
        ("Hello [[delay 1s]]", Directives(), "Hello [[delay 1s]]"),
        ("[[delay 200ms]] Hello", Directives(delay=0.2), "Hello"),
        ("  [[first-byte 2s]][[first-event 1.5s]]\nHello", Directives(first_byte=2.0, first_event=1.5), "Hello"),
        (
            "[[error 429 retry-after=1 message=slow at=one]] x",
            Directives(error=429, retry_after="1", error_message="slow", error_at="one"),
            "x",
        ),
        ("[[error 503 times=2 key=abc]]", Directives(error=503, error_times=2, error_key="abc"), ""),
        ("[[html 502]]", Directives(html=502), ""),
        ("[[error-after 3]] [[cut-after 0]] a", Directives(error_after=3, cut_after=0), "a"),
        ("[[tokens 500]][[think 7]]", Directives(tokens=500, think=7), ""),
        ("[[cached 20]][[cache-write 5]] a", Directives(cached=20, cache_write=5), "a"),
        ("[[refuse]] a", Directives(refuse=True), "a"),
        ("[[wiki link]] a", Directives(), "[[wiki link]] a"),
        ("[[refuse]] [[wiki link]] a", Directives(refuse=True), "[[wiki link]] a"),
    ],
)
def test_what_is_read(text: str, expected: Directives, rest: str) -> None:
    assert parse(text) == (expected, rest)


@pytest.mark.parametrize(
    "text",
    [
        "[[delay]]",
        "[[delay fast]]",
        "[[delay 2h]]",
        "[[delay 9999s]]",
        "[[tokens -1]]",
        "[[tokens 10000000]]",
        "[[error]]",
        "[[error 200]]",
        "[[error 429 retry=1]]",
        "[[error 429 retry-after=]]",
        "[[error 429 times=often]]",
        "[[html 502 at=x]]",
    ],
)
def test_a_wrong_argument_is_refused_with_the_mend(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(text)
    assert caught.value.status == 400
    assert text[2:].split()[0].rstrip("]") in caught.value.message
    assert caught.value.message.count("`") >= 2


@given(st.text(alphabet="[]ab 1s-delaytokens="))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(RequestError):
        found, rest = parse(text)
        assert text.endswith(rest)
        assert rest == text or found != Directives() or "[[" in text
