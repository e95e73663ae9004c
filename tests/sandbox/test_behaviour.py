"""What every format owes alike: the same behaviour, JSON and SSE."""

from dataclasses import replace
from typing import Any

import jsonschema
import orjson
import pytest

TOOLS = {
    "get_weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 2},
            "days": {"type": "integer", "minimum": 3, "maximum": 9},
            "unit": {"enum": ["c", "f"]},
        },
        "required": ["city", "days", "unit"],
        "additionalProperties": False,
    },
    "now": {"type": "object", "properties": {}},
}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2}},
    "required": ["name", "tags"],
    "additionalProperties": False,
}


def check_calls(answer: Any, names: list[str], asker: Any) -> None:
    assert [name for _, name, _ in answer.calls] == names
    for _, name, arguments in answer.calls:
        jsonschema.validate(orjson.loads(arguments), TOOLS[name])
    if asker.name != "gemini":
        identities = [identity for identity, _, _ in answer.calls]
        assert all(identities)
        assert len(set(identities)) == len(names)
    assert answer.finish == asker.finishes["calls"]
    assert answer.text == ""


async def test_a_text_answers_with_a_short_echo(asker):
    answer = await asker.ask("Hello there, sandbox!")
    assert answer.text == "Echo: Hello there, sandbox!"
    assert answer.finish == asker.finishes["stop"]
    assert answer.calls == []
    assert answer.reasoning == answer.seal == ""
    assert 0 < answer.usage["output"] <= 10
    assert answer.usage["input"] > 0
    assert answer.usage["reasoning"] == answer.usage["cached"] == 0


@pytest.mark.parametrize(
    "text", ["", "word " * 5000, "日本語のとても長い文章をここに書いておきます", "\x00\n\t 🎉", "[[nothing]] x"]
)
async def test_any_text_answers_in_ten_tokens(asker, text):
    answer = await asker.ask(text)
    assert answer.text
    assert 0 < answer.usage["output"] <= 10
    assert len(answer.text.split()) <= 10


async def test_the_same_request_has_the_same_answer_and_usage(asker):
    first = await asker.ask("The same again", tools=TOOLS, reasoning=True)
    second = await asker.ask("The same again", tools=TOOLS, reasoning=True)
    assert (first.text, first.reasoning, first.usage) == (second.text, second.reasoning, second.usage)
    assert first.id != second.id
    longer = await asker.ask("The same again, but with many more words before its end is reached")
    assert longer.usage["input"] != first.usage["input"]


async def test_both_modes_agree(plain_asker, streamer):
    answers = []
    for asker in (plain_asker, streamer):
        answer = await asker.ask("call the tools get_weather and now", tools=TOOLS, reasoning=True)
        calls = [(name, arguments) for _, name, arguments in answer.calls]
        answers.append(replace(answer, calls=calls, events=[], id=""))
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("call the tool get_weather", ["get_weather"]),
        ("Please, Call The Tool GET_WEATHER.", ["get_weather"]),
        ("Now call the tool `now`, then stop", ["now"]),
        ("call the tools get_weather, now", ["get_weather", "now"]),
        ("call the tool now and get_weather for Oslo", ["now", "get_weather"]),
        ("call the tools now, now, and get_weather", ["now", "now", "get_weather"]),
        ("call the tool now. And call the tool get_weather!", ["now", "get_weather"]),
        ("call the tool now and go. I said: call the tool now", ["now"]),
    ],
)
async def test_a_named_tool_is_called(asker, text, names):
    check_calls(await asker.ask(text, tools=TOOLS), names, asker)


@pytest.mark.parametrize("text", ["call the tool other", "call get_weather", "the tool now", "recall the toolbox now"])
async def test_what_is_not_asked_or_not_offered_is_not_called(asker, text):
    answer = await asker.ask(text, tools=TOOLS)
    assert answer.calls == []
    assert answer.text.startswith("Echo:")


async def test_without_tools_nothing_is_called(asker):
    assert (await asker.ask("call the tool now")).calls == []
    assert (await asker.ask("call the tool now", tools=TOOLS, choice="none")).calls == []


async def test_a_forced_call_is_made(asker):
    check_calls(await asker.ask("Hello", tools=TOOLS, choice="any"), ["get_weather"], asker)
    check_calls(await asker.ask("Hello", tools=TOOLS, choice="now"), ["now"], asker)
    check_calls(await asker.ask("call the tool now", tools=TOOLS, choice="any"), ["now"], asker)


async def test_a_forced_call_of_no_offered_tool_is_refused(plain_asker):
    assert (await plain_asker.post("Hello", choice="any")).status_code == 400
    assert (await plain_asker.post("Hello", tools=TOOLS, choice="missing")).status_code == 400


async def test_calls_one_at_a_time(asker):
    if asker.name == "gemini":
        pytest.skip("the format has no such option")
    check_calls(await asker.ask("call the tools now and get_weather", tools=TOOLS, serial=True), ["now"], asker)


async def test_after_a_result_it_answers_in_text(asker):
    turns = [("now", "{}", "12:30")]
    answer = await asker.ask("call the tool now", tools=TOOLS, turns=turns)
    assert answer.calls == []
    assert answer.text.startswith("Tool said:")
    assert "12:30" in answer.text or asker.name == "gemini"
    assert answer.finish == asker.finishes["stop"]
    again = await asker.ask("call the tool now", tools=TOOLS, turns=turns, choice="any")
    assert again.calls == []


async def test_a_user_text_after_a_result_may_call_again(asker):
    turns = [("now", "{}", "12:30")]
    answer = await asker.ask("Hello", tools=TOOLS, turns=turns, more="call the tool get_weather")
    check_calls(answer, ["get_weather"], asker)


async def test_a_schema_that_no_arguments_fit_is_refused(plain_asker):
    tools = {"f": {"type": "object", "properties": {"a": False}, "required": ["a"]}}
    response = await plain_asker.post("call the tool f", tools=tools)
    assert response.status_code == 400
    assert "f" in response.text


async def test_structured_output(asker):
    answer = await asker.ask("Who?", schema=SCHEMA)
    jsonschema.validate(orjson.loads(answer.text), SCHEMA)
    assert answer.finish == asker.finishes["stop"]
    called = await asker.ask("call the tool now", schema=SCHEMA, tools=TOOLS)
    check_calls(called, ["now"], asker)


async def test_reasoning_when_asked(asker):
    answer = await asker.ask("Hello", reasoning=True)
    assert answer.reasoning == "Reading the last turn."
    assert bool(answer.seal) == (asker.name != "chat")
    assert answer.text == "Echo: Hello"
    assert 0 < answer.usage["reasoning"] < answer.usage["output"]
    called = await asker.ask("call the tool now", reasoning=True, tools=TOOLS)
    assert called.reasoning
    check_calls(called, ["now"], asker)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_the_limit_holds(asker, limit):
    answer = await asker.ask("one two three four five six seven", limit=limit, reasoning=limit > 6)
    assert answer.usage["output"] == limit
    assert answer.finish == asker.finishes["length"]
    whole = await asker.ask("one two", limit=1000)
    assert whole.finish == asker.finishes["stop"]


async def test_a_limit_never_spoils_a_call(asker):
    answer = await asker.ask("call the tool get_weather", tools=TOOLS, limit=2)
    check_calls(answer, ["get_weather"], asker)
    assert 0 < answer.usage["output"] <= 2


async def test_a_stop_sequence_ends_the_text(asker):
    if asker.name == "responses":
        pytest.skip("the format has none")
    answer = await asker.ask("one two three", stop="two")
    assert answer.text == "Echo: one "
    assert answer.finish == asker.finishes["sequence"]
    nothing = await asker.ask("one two", stop="Echo")
    assert nothing.text == ""
    assert nothing.usage["output"] == 1


async def test_an_image_is_seen_and_counted(asker):
    plain = await asker.ask("Look")
    seen = await asker.ask("Look", image=True)
    assert seen.text == "Echo: Look +1 image"
    assert seen.usage["input"] >= plain.usage["input"] + 50


async def test_long_output(asker):
    answer = await asker.ask("[[tokens 500]] [[think 40]] go on", limit=10_000)
    assert answer.usage["output"] == 540
    assert answer.usage["reasoning"] == 40
    assert answer.text.startswith("The quick brown fox")


async def test_a_refusal(asker):
    answer = await asker.ask("[[refuse]] Hello")
    assert answer.refusal == "I cannot help with that."
    assert answer.text == ""
    assert answer.finish == asker.finishes["refusal"]


async def test_cached_tokens_are_within_the_input(asker):
    plain = await asker.ask("[[cached 0]] Hello")
    cached = await asker.ask("[[cached 5]] Hello")
    assert cached.usage == plain.usage | {"cached": 5}
    everything = await asker.ask("[[cached 5000]] Hello")
    assert everything.usage["cached"] == everything.usage["input"] - 1


async def test_directives_are_not_echoed(asker):
    assert (await asker.ask("[[delay 1ms]] [[first-byte 1ms]]\nHello")).text == "Echo: Hello"
