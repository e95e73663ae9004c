import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { zodFunction, zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { ask, everywhere, form, given, key, parameters, place, url } from './shared.mjs';

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const user = (content) => [{ role: 'user', content }];

everywhere('openai chat', (upstream) => {
  const { model } = upstream;

  test('quickstart', async () => {
    const messages = [{ role: 'system', content: 'Be brief.' }, ...user('Hello!')];
    const { data, response } = await client.chat.completions.create({ model, messages }).withResponse();
    assert.equal(data.choices[0].message.content, 'Echo: Hello!');
    assert.equal(data.choices[0].finish_reason, 'stop');
    assert.ok(data.usage.prompt_tokens > 0 && data.usage.completion_tokens > 0);
    assert.equal(response.headers.get('x-nexeon-provider'), upstream.provider);
  });

  test('streaming', async () => {
    let text = '';
    const stream = await client.chat.completions.create({ model, messages: user('Hello!'), stream: true });
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    assert.equal(text, 'Echo: Hello!');
  });

  test('streaming helper', async () => {
    const stream = client.chat.completions.stream({ model, messages: user('Hello!') });
    assert.equal(await stream.finalContent(), 'Echo: Hello!');
  });

  for (const stream of [false, true]) {
    test(`tool loop, ${stream ? 'SSE' : 'JSON'}`, async () => {
      const heard = [];
      const tool = zodFunction({
        name: 'get_weather',
        parameters: place,
        function: (args) => {
          heard.push(args);
          return 'sunny';
        },
      });
      const runner = client.chat.completions.runTools({ model, messages: user(ask), tools: [tool], stream });
      assert.match(await runner.finalContent(), /^Tool said:/);
      assert.deepEqual(heard, [given]);
    });
  }

  for (const fault of ['error-after', 'cut-after']) {
    test(`a stream that breaks: ${fault}`, async () => {
      const messages = user(`[[tokens 40]] [[${fault} 12]]`);
      const stream = await client.chat.completions.create({ model, messages, stream: true });
      let text = '';
      const read = async () => {
        for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
      };
      await assert.rejects(read, OpenAI.APIError);
      assert.match(text, /^The quick/);
    });
  }

  test('structured output', async () => {
    const response_format = zodResponseFormat(form(upstream), 'answer');
    const completion = await client.chat.completions.parse({ model, messages: user('Which city?'), response_format });
    assert.ok(form(upstream).parse(completion.choices[0].message.parsed));
  });
});

everywhere('openai responses', (upstream) => {
  const { model } = upstream;
  const tools = [{ type: 'function', name: 'get_weather', parameters, strict: true }];

  test('quickstart', async () => {
    const response = await client.responses.create({ model, instructions: 'Be brief.', input: 'Hello!' });
    assert.equal(response.output_text, 'Echo: Hello!');
    assert.equal(response.status, 'completed');
    assert.ok(response.usage.input_tokens > 0 && response.usage.output_tokens > 0);
  });

  test('streaming', async () => {
    let text = '';
    const stream = await client.responses.create({ model, input: 'Hello!', stream: true });
    for await (const event of stream) if (event.type === 'response.output_text.delta') text += event.delta;
    assert.equal(text, 'Echo: Hello!');
  });

  test('streaming helper', async () => {
    const response = await client.responses.stream({ model, input: 'Hello!' }).finalResponse();
    assert.equal(response.output_text, 'Echo: Hello!');
  });

  for (const streamed of [false, true]) {
    test(`tool loop, ${streamed ? 'SSE' : 'JSON'}`, async () => {
      const create = (input) =>
        streamed
          ? client.responses.stream({ model, input, tools }).finalResponse()
          : client.responses.create({ model, input, tools });
      const first = await create(ask);
      const call = first.output.find((item) => item.type === 'function_call');
      assert.equal(call.name, 'get_weather');
      assert.deepEqual(JSON.parse(call.arguments), given);
      const output = { type: 'function_call_output', call_id: call.call_id, output: 'sunny' };
      const items = first.output.map(({ parsed_arguments, ...item }) => item);
      const second = await create([...user(ask), ...items, output]);
      assert.match(second.output_text, /^Tool said:/);
    });
  }

  for (const fault of ['error-after', 'cut-after']) {
    test(`a stream that breaks: ${fault}`, async () => {
      const stream = client.responses.stream({ model, input: `[[tokens 40]] [[${fault} 12]]` });
      const response = await stream.finalResponse().catch((error) => ({ status: 'failed', error }));
      assert.equal(response.status, 'failed');
      assert.ok(response.error.message);
    });
  }

  test('structured output', async () => {
    const text = { format: zodTextFormat(form(upstream), 'answer') };
    const response = await client.responses.parse({ model, input: 'Which city?', text });
    assert.ok(form(upstream).parse(response.output_parsed));
  });
});

test('openai: unknown model, bad key, invalid request', async () => {
  const messages = user('Hi');
  await assert.rejects(client.chat.completions.create({ model: 'nobody', messages }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.deepEqual([error.param, error.code], ['model', 'model_not_found']);
    return true;
  });
  const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'nex-sk-wrong', maxRetries: 0 });
  await assert.rejects(stranger.responses.create({ model: 'gpt-5', input: 'Hi' }), OpenAI.AuthenticationError);
  const invalid = client.chat.completions.create({ model: 'gpt-5', messages: 'Hi' });
  await assert.rejects(invalid, (error) => error instanceof OpenAI.BadRequestError && error.param === 'messages');
});

test('openai: models', async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  assert.ok(models.includes('gpt-5') && models.includes('anthropic/claude-sonnet-4.6'));
  assert.equal((await client.models.retrieve('anthropic/claude-sonnet-4.6')).id, 'anthropic/claude-sonnet-4.6');
});
