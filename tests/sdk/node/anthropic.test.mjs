import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { ask, everywhere, form, given, key, parameters, place, url } from './shared.mjs';

const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
const user = (content) => [{ role: 'user', content }];
const said = (message) => message.content.filter((block) => block.type === 'text').map((block) => block.text).join('');

everywhere('anthropic messages', (upstream) => {
  const { model } = upstream;
  const max_tokens = 200;

  test('quickstart', async () => {
    const { data, response } = await client.messages
      .create({ model, max_tokens, system: 'Be brief.', messages: user('Hello!') })
      .withResponse();
    assert.equal(said(data), 'Echo: Hello!');
    assert.equal(data.stop_reason, 'end_turn');
    assert.ok(data.usage.input_tokens > 0 && data.usage.output_tokens > 0);
    assert.equal(response.headers.get('x-nexeon-provider'), upstream.provider);
  });

  test('streaming', async () => {
    let text = '';
    const stream = await client.messages.create({ model, max_tokens, messages: user('Hello!'), stream: true });
    for await (const event of stream) {
      if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') text += event.delta.text;
    }
    assert.equal(text, 'Echo: Hello!');
  });

  test('streaming helper', async () => {
    const stream = client.messages.stream({ model, max_tokens, messages: user('Hello!') });
    assert.equal(said(await stream.finalMessage()), 'Echo: Hello!');
  });

  for (const streamed of [false, true]) {
    test(`tool loop, ${streamed ? 'SSE' : 'JSON'}`, async () => {
      const tools = [{ name: 'get_weather', input_schema: parameters }];
      const create = (messages) =>
        streamed
          ? client.messages.stream({ model, max_tokens, messages, tools }).finalMessage()
          : client.messages.create({ model, max_tokens, messages, tools });
      const first = await create(user(ask));
      assert.equal(first.stop_reason, 'tool_use');
      const call = first.content.find((block) => block.type === 'tool_use');
      assert.equal(call.name, 'get_weather');
      assert.deepEqual(call.input, given);
      const result = { type: 'tool_result', tool_use_id: call.id, content: 'sunny' };
      const turns = [...user(ask), { role: 'assistant', content: first.content }, ...user([result])];
      assert.match(said(await create(turns)), /^Tool said:/);
    });
  }

  test('tool runner, thinking', async () => {
    const heard = [];
    const tool = betaZodTool({
      name: 'get_weather',
      description: 'Tells.',
      inputSchema: place,
      run: (args) => {
        heard.push(args);
        return 'sunny';
      },
    });
    const thinking = { type: 'enabled', budget_tokens: 1024 };
    const message = await client.beta.messages.toolRunner({
      model,
      max_tokens: 2000,
      messages: user(ask),
      tools: [tool],
      thinking,
    });
    assert.match(said(message), /^Tool said:/);
    assert.deepEqual(heard, [given]);
    assert.ok(message.content.some((block) => block.type === 'thinking' && block.thinking));
  });

  for (const fault of ['error-after', 'cut-after']) {
    test(`a stream that breaks: ${fault}`, async () => {
      const stream = client.messages.stream({ model, max_tokens, messages: user(`[[tokens 40]] [[${fault} 12]]`) });
      let text = '';
      stream.on('text', (piece) => (text += piece));
      await assert.rejects(stream.finalMessage(), Anthropic.APIError);
      assert.match(text, /^The quick/);
    });
  }

  test('structured output', async () => {
    const message = await client.messages.parse({
      model,
      max_tokens,
      messages: user('Which city?'),
      output_config: { format: zodOutputFormat(form(upstream)) },
    });
    assert.ok(form(upstream).parse(message.parsed_output));
  });
});

test('anthropic: unknown model, bad key, invalid request', async () => {
  const options = { max_tokens: 100, messages: user('Hi') };
  await assert.rejects(client.messages.create({ model: 'nobody', ...options }), (error) => {
    assert.ok(error instanceof Anthropic.NotFoundError);
    assert.equal(error.error.error.code, 'model_not_found');
    return true;
  });
  const stranger = new Anthropic({ baseURL: url, apiKey: 'nex-sk-wrong', maxRetries: 0 });
  await assert.rejects(stranger.messages.create({ model: 'gpt-5', ...options }), Anthropic.AuthenticationError);
  await assert.rejects(
    client.messages.create({ model: 'gpt-5', ...options, messages: 'Hi' }),
    (error) => error instanceof Anthropic.BadRequestError && error.error.error.param === 'messages',
  );
});

test('anthropic: models', async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  assert.ok(models.includes('claude-sonnet-4-6'));
  assert.equal((await client.models.retrieve('claude-sonnet-4-6')).type, 'model');
});
