"""Responses as a resource with state, through the OpenAI SDK, against every upstream."""

from __future__ import annotations

import time

import openai as sdk
import pytest
from openai import OpenAI

from tests.patience import PATIENCE


def text_of(item):
    return "".join(part.text for part in item.content)


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_retrieve(openai, upstream, streamed):
    options = {"model": upstream.model, "input": "Keep me", "metadata": {"a": "b"}}
    if streamed:
        answer = list(openai.responses.create(stream=True, **options))[-1].response
    else:
        answer = openai.responses.create(**options)
    assert answer.id.startswith("resp_nex-")
    assert answer.store is True
    assert answer.previous_response_id is None
    assert openai.responses.retrieve(answer.id).to_dict() == answer.to_dict()


def test_delete(openai, upstream):
    answer = openai.responses.create(model=upstream.model, input="Delete me")
    raw = openai.responses.with_raw_response.delete(answer.id)
    assert raw.http_response.json() == {"id": answer.id, "object": "response", "deleted": True}
    for call in (openai.responses.retrieve, openai.responses.delete, openai.responses.input_items.list):
        with pytest.raises(sdk.NotFoundError) as caught:
            call(answer.id)
        assert caught.value.type == "invalid_request_error"
        assert answer.id in caught.value.message
    with pytest.raises(sdk.BadRequestError) as gone:
        openai.responses.create(model=upstream.model, input="And on", previous_response_id=answer.id)
    assert (gone.value.param, gone.value.code) == ("previous_response_id", "previous_response_not_found")


def test_not_stored(openai, upstream):
    answer = openai.responses.create(model=upstream.model, input="Forget me", store=False)
    assert answer.store is False
    with pytest.raises(sdk.NotFoundError):
        openai.responses.retrieve(answer.id)


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_goes_on(openai, upstream, streamed):
    """What was said before reaches the model: it is counted, and told again by the list of what was said."""
    first = openai.responses.create(model=upstream.model, input="One " * 50)
    options = {"model": upstream.model, "input": "Two", "previous_response_id": first.id}
    if streamed:
        second = list(openai.responses.create(stream=True, **options))[-1].response
    else:
        second = openai.responses.create(**options)
    assert second.previous_response_id == first.id
    assert second.output_text == "Echo: Two"
    assert second.usage.input_tokens > first.usage.input_tokens
    items = list(openai.responses.input_items.list(second.id, order="asc"))
    assert [item.role for item in items] == ["user", "assistant", "user"]
    assert [text_of(item) for item in items] == ["One " * 50, first.output_text, "Two"]


def test_tool_result_alone(openai, upstream, parameters):
    tools = [{"type": "function", "name": "get_weather", "parameters": parameters, "strict": True}]
    options = {"model": upstream.model, "tools": tools, "reasoning": {"effort": "high", "summary": "auto"}}
    first = openai.responses.create(input="Please call the tool get_weather", **options)
    (call,) = [item for item in first.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = openai.responses.create(input=[result], previous_response_id=first.id, **options)
    assert second.output_text.startswith("Tool said:")
    third = openai.responses.create(input="And on", previous_response_id=second.id, **options)
    assert third.output_text == "Echo: And on"


def test_pages(openai, models):
    told = [{"role": "user", "content": f"Line {n}"} for n in range(7)]
    answer = openai.responses.create(model=models[0], input=told)
    page = openai.responses.input_items.list(answer.id, limit=3)
    assert [text_of(item) for item in page.data] == ["Line 6", "Line 5", "Line 4"]
    assert page.has_more is True
    assert (page.first_id, page.last_id) == (page.data[0].id, page.data[-1].id)
    whole = list(openai.responses.input_items.list(answer.id, limit=3, order="asc"))
    assert [text_of(item) for item in whole] == [f"Line {n}" for n in range(7)]
    assert len({item.id for item in whole}) == 7
    before = openai.responses.input_items.list(answer.id, order="asc", extra_query={"before": whole[2].id, "limit": 1})
    assert [text_of(item) for item in before.data] == ["Line 1"]
    for query in ({"limit": 0}, {"limit": 101}, {"order": "up"}, {"after": "msg_none"}):
        with pytest.raises(sdk.BadRequestError) as caught:
            openai.responses.input_items.list(answer.id, extra_query=query)
        assert caught.value.param == next(iter(query))


@pytest.mark.parametrize("field", ["conversation", "prompt"])
def test_refused(openai, field):
    value = {"id": "pmpt_1"} if field == "prompt" else "conv_1"
    with pytest.raises(sdk.BadRequestError, match=r"not kept here|kept by one provider") as caught:
        openai.responses.create(model="gpt-5", input="Hi", **{field: value})
    assert caught.value.param == field


def test_unknown(openai):
    with pytest.raises(sdk.BadRequestError) as caught:
        openai.responses.create(model="gpt-5", input="Hi", previous_response_id="resp_nex-none")
    error = caught.value
    assert (error.param, error.code) == ("previous_response_id", "previous_response_not_found")
    assert "Previous response with id 'resp_nex-none' not found." in error.message


def test_needs_a_key(gateway, openai, models):
    answer = openai.responses.create(model=models[0], input="Mine")
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key="nex-sk-wrong", max_retries=0) as other,
        pytest.raises(sdk.AuthenticationError),
    ):
        other.responses.retrieve(answer.id)


def ended(openai, answer):
    """The answer once it is no longer under way."""
    deadline = time.monotonic() + PATIENCE
    while answer.status in ("queued", "in_progress"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
        answer = openai.responses.retrieve(answer.id)
    return answer


def test_background(openai, upstream):
    answer = openai.responses.create(model=upstream.model, input="[[first-byte 100ms]] Later", background=True)
    assert (answer.status, answer.background, answer.output) == ("queued", True, [])
    done = ended(openai, answer)
    assert (done.id, done.status, done.background) == (answer.id, "completed", True)
    assert done.output_text == "Echo: Later"
    assert done.usage.output_tokens > 0
    more = openai.responses.create(model=upstream.model, input="And on", previous_response_id=done.id)
    assert more.output_text == "Echo: And on"


def test_cancel(openai, upstream):
    answer = openai.responses.create(model=upstream.model, input="[[first-byte 20s]] Never", background=True)
    assert openai.responses.retrieve(answer.id).status in ("queued", "in_progress")
    with pytest.raises(sdk.BadRequestError, match="not complete"):
        openai.responses.create(model=upstream.model, input="And on", previous_response_id=answer.id)
    cancelled = openai.responses.cancel(answer.id)
    assert (cancelled.id, cancelled.status) == (answer.id, "cancelled")
    assert openai.responses.cancel(answer.id).status == "cancelled"
    assert openai.responses.retrieve(answer.id).status == "cancelled"


def test_only_the_background_is_cancelled(openai, models):
    answer = openai.responses.create(model=models[0], input="Now")
    with pytest.raises(sdk.BadRequestError, match="synchronous"):
        openai.responses.cancel(answer.id)
    with pytest.raises(sdk.NotFoundError):
        openai.responses.cancel("resp_nex-none")


def test_background_fails(openai, upstream):
    answer = openai.responses.create(model=upstream.model, input="[[error 400 message=too-blue]] Hi", background=True)
    done = ended(openai, answer)
    assert done.status == "failed"
    assert "too-blue" in done.error.message


def test_background_is_kept(openai, models):
    with pytest.raises(sdk.BadRequestError) as caught:
        openai.responses.create(model=models[0], input="Hi", background=True, store=False)
    assert caught.value.param == "background"


def test_stream_resumed(openai, upstream):
    """A stream in the background goes on without its client, which takes it up again where it was."""
    options = {"model": upstream.model, "input": "[[delay 20ms]] [[tokens 12]]", "background": True}
    seen = []
    with openai.responses.create(stream=True, **options) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
    id = seen[0].response.id
    assert seen[0].response.background is True
    with openai.responses.retrieve(id, stream=True, starting_after=seen[-1].sequence_number) as stream:
        rest = list(stream)
    events = [*seen, *rest]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    done = openai.responses.retrieve(id)
    assert done.to_dict() == events[-1].response.to_dict()
    assert done.output_text == text
    with openai.responses.retrieve(id, stream=True) as stream:
        assert [event.to_dict() for event in stream] == [event.to_dict() for event in events]


def test_stream_fails_in_the_background(openai, upstream):
    options = {"model": upstream.model, "background": True, "stream": True}
    events = list(openai.responses.create(input="[[error 400 message=too-blue]] Hi", **options))
    assert [event.type for event in events] == ["response.created", "response.queued", "error", "response.failed"]
    assert [event.sequence_number for event in events] == [0, 1, 2, 3]
    assert "too-blue" in events[2].message
    id = events[-1].response.id
    assert openai.responses.retrieve(id).status == "failed"
    events = list(openai.responses.create(input="[[tokens 40]] [[cut-after 12]]", **options))
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert openai.responses.retrieve(events[0].response.id).status == "failed"


def test_nothing_to_resume(openai, models):
    answer = openai.responses.create(model=models[0], input="Now")
    with pytest.raises(sdk.BadRequestError) as caught:
        openai.responses.retrieve(answer.id, stream=True)
    assert caught.value.param == "stream"


def test_compact(openai, upstream):
    """What comes back stands for the conversation, with any model."""
    first = openai.responses.create(model=upstream.model, input="The word is plum. " * 20)
    raw = openai.responses.with_raw_response.compact(
        model=upstream.model, input=[{"role": "user", "content": "Mind it"}], previous_response_id=first.id
    )
    compacted = raw.parse()
    assert compacted.object == "response.compaction"
    assert [item.type for item in compacted.output] == ["message", "message", "compaction"]
    assert [item.role for item in compacted.output[:2]] == ["user", "user"]
    assert compacted.usage.input_tokens > first.usage.input_tokens
    told = raw.http_response.json()["output"]
    for store in (True, False):
        answer = openai.responses.create(
            model=upstream.model, input=[*told, {"role": "user", "content": "And on"}], store=store
        )
        assert answer.output_text.startswith("Echo: ")
    # the item alone, twice: the summary counts for something
    short = openai.responses.create(model=upstream.model, input="And on")
    long = openai.responses.create(model=upstream.model, input=[told[-1], {"role": "user", "content": "And on"}])
    assert long.usage.input_tokens > short.usage.input_tokens


def test_compact_fails(openai):
    with pytest.raises(sdk.NotFoundError, match="not available"):
        openai.responses.compact(model="nobody", input="Hi")
    with pytest.raises(sdk.BadRequestError) as caught:
        openai.responses.compact(model="gpt-5", previous_response_id="resp_nex-none")
    assert caught.value.code == "previous_response_not_found"


def test_items_by_their_ids(openai, upstream, parameters):
    """Some clients name what the model said by its id alone."""
    tools = [{"type": "function", "name": "get_weather", "parameters": parameters, "strict": True}]
    options = {"model": upstream.model, "tools": tools, "reasoning": {"effort": "high", "summary": "auto"}}
    asked = {"role": "user", "content": "Please call the tool get_weather"}
    first = openai.responses.create(input=[asked], **options)
    named = [{"type": "item_reference", "id": item.id} for item in first.output]
    (call,) = [item for item in first.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    for store in (True, False):
        second = openai.responses.create(input=[asked, *named, result], store=store, **options)
        assert second.output_text.startswith("Tool said:")
    with pytest.raises(sdk.NotFoundError, match="Item with id 'msg_none' not found") as caught:
        openai.responses.create(input=[asked, {"type": "item_reference", "id": "msg_none"}], **options)
    assert caught.value.param == "input"
    openai.responses.delete(first.id)


def test_helper_taken_up_again(openai, upstream):
    """The SDK's own way to follow a stream in the background: by the answer's id, from an event on."""
    options = {"model": upstream.model, "input": "[[delay 20ms]] Which city?", "text_format": upstream.form}
    with openai.responses.stream(background=True, **options) as stream:
        for event in stream:
            if event.type == "response.created":
                id = event.response.id
            if event.type == "response.output_text.delta":
                break
    after = event.sequence_number
    with openai.responses.stream(response_id=id, starting_after=after, text_format=upstream.form) as stream:
        rest = list(stream)
        answer = stream.get_final_response()
    assert rest[0].sequence_number == after + 1
    assert isinstance(answer.output_parsed, upstream.form)
    assert openai.responses.retrieve(id).output_text == answer.output_text


def test_polled(openai, upstream):
    """As the API's guide to the background has it, with everything included and the items of its input."""
    answer = openai.responses.create(model=upstream.model, input="Hello!", background=True)
    while answer.status in {"queued", "in_progress"}:
        time.sleep(0.02)
        answer = openai.responses.retrieve(answer.id, include=["reasoning.encrypted_content"])
    assert answer.output_text == "Echo: Hello!"
    page = openai.responses.input_items.list(answer.id, include=["message.input_image.image_url"], limit=1)
    assert [text_of(item) for item in page.data] == ["Hello!"]
    assert page.data[0].id.startswith("msg_nex-")
    assert openai.responses.delete(answer.id) is None
