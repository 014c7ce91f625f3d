"""The Python SDK against the scripted upstream: what its users can rely on.

Runs with the newest SDK and with the last one of the old protocol (another version header, another
header for the key): what is held here is the same for both.
"""

import asyncio
import json
import os
import unittest

import anthropic

from bed import BRIDGE_KEY, BRIDGE_URL, ask, both_ways, client, final_message, upstream_bodies

SENTENCE = "The quick brown fox jumps over the lazy dog."
PARALLEL_STREAMS = 30
PROTOCOL_VERSIONS = {"new": "2026-10-21", "old": "2023-06-01"}

WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
        "required": ["city"],
    },
}


class Answers(unittest.TestCase):
    def test_the_sdk_speaks_the_protocol_that_this_run_is_for(self):
        protocol = os.environ.get("SDK_PROTOCOL", "new")
        self.assertEqual(client().default_headers["anthropic-version"], PROTOCOL_VERSIONS[protocol])

    def test_kp01_create_stream_and_beta(self):
        body = ask("f-text")
        beta = client().beta.messages
        with beta.stream(**body) as stream:
            streamed = stream.get_final_message()
        for message in (*both_ways(body), beta.create(**body, betas=["unheard-of-2031-01-01"]), streamed):
            self.assertEqual([block.type for block in message.content], ["text"])
            self.assertEqual(message.content[0].text, SENTENCE)
            self.assertEqual(message.model, "f-text")
            self.assertEqual(message.stop_reason, "end_turn")
            self.assertEqual((message.usage.input_tokens, message.usage.output_tokens), (20, 10))

    def test_kp01_raw_events_in_their_order(self):
        kinds = [event.type for event in client().messages.create(**ask("f-text"), stream=True)]
        self.assertEqual(kinds[:2], ["message_start", "content_block_start"])
        self.assertEqual(kinds[-3:], ["content_block_stop", "message_delta", "message_stop"])

    def test_kp02_both_forms_of_the_key(self):
        body = ask("f-text")
        with_token = anthropic.Anthropic(base_url=BRIDGE_URL, auth_token=BRIDGE_KEY, max_retries=0)
        for sdk in (client(), with_token):
            self.assertEqual(sdk.messages.create(**body).content[0].text, SENTENCE)

    def test_kp03_parallel_tools_round_trip(self):
        for answer in (lambda body: client().messages.create(**body), final_message):
            body = {**ask("f-tools", "Weather in Paris and Oslo?"), "tools": [WEATHER]}
            calls = answer(body)
            self.assertEqual(calls.stop_reason, "tool_use")
            self.assertEqual([block.input["city"] for block in calls.content], ["Paris", "Oslo"])

            results = [
                {"type": "tool_result", "tool_use_id": block.id, "content": "12 degrees"}
                for block in calls.content
            ]
            body["messages"] += [
                {"role": "assistant", "content": [block.model_dump() for block in calls.content]},
                {"role": "user", "content": results},
            ]
            self.assertEqual(answer(body).content[0].text, SENTENCE)

    def test_kp04_the_loop_over_tools(self):
        asked = []

        @anthropic.beta_tool
        def get_weather(city: str, unit: str) -> str:
            """The weather of a city.

            Args:
                city: Where.
                unit: C or F.
            """
            asked.append((city, unit))
            return f"12 {unit}"

        for streams in (False, True):
            asked.clear()
            runner = client().beta.messages.tool_runner(
                **ask("f-tools", "Weather in Paris and Oslo?"), tools=[get_weather], stream=streams
            )
            message = runner.until_done()
            self.assertEqual(sorted(asked), [("Oslo", "C"), ("Paris", "C")])
            self.assertEqual(message.content[0].text, SENTENCE)

    def test_kp05_thinking_only_where_it_was_asked_for(self):
        thinking = {**ask("f-think"), "max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}}
        for message in both_ways(thinking):
            self.assertEqual([block.type for block in message.content], ["thinking", "text"])
            self.assertEqual(message.content[0].thinking, "A pangram is wanted.")
            self.assertTrue(message.content[0].signature)
            history = [{"role": "assistant", "content": [block.model_dump() for block in message.content]}]
            again = {**thinking, "messages": thinking["messages"] + history + ask("f-think")["messages"]}
            self.assertEqual(client().messages.create(**again).content[-1].text, SENTENCE)
        self.assertEqual([block.type for block in final_message(ask("f-think")).content], ["text"])

    def test_kp09_count_tokens(self):
        body = ask("f-text", "How many tokens are these?")
        del body["max_tokens"]
        for messages in (client().messages, client().beta.messages):
            count = messages.count_tokens(**body).input_tokens
            self.assertGreater(count, 5)
            self.assertLess(count, 40)

    def test_kp09_models(self):
        models = list(client().models.list())
        self.assertIn("f-text", [model.id for model in models])
        self.assertEqual(client().models.retrieve("f-text").id, "f-text")
        first, *_ = client().models.list(limit=2).data
        self.assertEqual(first.id, models[0].id)
        with self.assertRaises(anthropic.NotFoundError):
            client().models.retrieve("gpt/unheard:of")

    def test_kp10_cached_tokens_are_told_apart(self):
        for message in both_ways(ask("f-cached")):
            self.assertEqual(message.usage.input_tokens, 36)
            self.assertEqual(message.usage.cache_read_input_tokens, 64)
            self.assertEqual(message.usage.cache_creation_input_tokens, 0)

    def test_kp11_many_streams_at_once(self):
        async def one(sdk, number):
            prompt = f"number {number}"
            async with sdk.messages.stream(**ask("f-echo", prompt)) as stream:
                return (await stream.get_final_message()).content[0].text

        async def all_of_them():
            async with anthropic.AsyncAnthropic(base_url=BRIDGE_URL, api_key=BRIDGE_KEY) as sdk:
                return await asyncio.gather(*(one(sdk, number) for number in range(PARALLEL_STREAMS)))

        texts = asyncio.run(all_of_them())
        self.assertEqual(texts, [f"number {number}" for number in range(PARALLEL_STREAMS)])

    def test_kp12_stop_reasons(self):
        for model, stop_reason in (("f-text", "end_turn"), ("f-length", "max_tokens"), ("f-tools", "tool_use")):
            for message in both_ways({**ask(model), "tools": [WEATHER]}):
                self.assertEqual(message.stop_reason, stop_reason)

    def test_kp13_structured_output(self):
        schema = {
            "type": "object",
            "properties": {"title": {"type": "string"}},
            "required": ["title"],
            "additionalProperties": False,
        }
        said = json.dumps({"title": "Structured"})
        body = {**ask("f-echo", said), "output_config": {"format": {"type": "json_schema", "schema": schema}}}
        for message in both_ways(body):
            self.assertEqual(json.loads(message.content[0].text), {"title": "Structured"})
        sent = [body for body in upstream_bodies("f-echo") if body["messages"][-1]["content"] == said]
        for body in sent:
            self.assertEqual(body["response_format"]["json_schema"]["schema"], schema)


class NativeProvider(unittest.TestCase):
    """A provider that speaks the SDK's own API, behind the same bridge."""

    def test_text_and_a_count_in_both_forms(self):
        body = ask("n-text")
        for message in both_ways(body):
            self.assertEqual((message.content[0].text, message.model), (SENTENCE, "n-text"))
            self.assertEqual((message.usage.input_tokens, message.usage.output_tokens), (20, 10))
        counted = client().messages.count_tokens(model="n-text", messages=body["messages"])
        self.assertEqual(counted.input_tokens, 20)

    def test_thinking_and_tools_go_there_and_back(self):
        body = ask("n-tools", "Weather in Paris and Oslo?") | {"tools": [WEATHER]}
        for calls in both_ways(body):
            self.assertEqual([call.input["city"] for call in calls.content], ["Paris", "Oslo"])
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": "12 degrees"} for call in calls.content
            ]
            turns = [{"role": "assistant", "content": calls.content}, {"role": "user", "content": results}]
            for final in both_ways(body | {"messages": body["messages"] + turns}):
                self.assertEqual(final.content[0].text, SENTENCE)
        for message in both_ways(ask("n-think")):
            self.assertEqual([block.type for block in message.content], ["thinking", "text"])
            turns = [{"role": "assistant", "content": message.content}, {"role": "user", "content": "Go on."}]
            final_message(ask("n-think") | {"messages": [{"role": "user", "content": "Hi"}, *turns]})
            sent = upstream_bodies("n-think")[-1]["messages"][1]["content"]
            self.assertEqual(sent[0]["signature"], message.content[0].signature)


class Failures(unittest.TestCase):
    def refused(self, model, error_class, status, kind):
        for call in (lambda: client().messages.create(**ask(model)), lambda: final_message(ask(model))):
            with self.assertRaises(error_class) as caught:
                call()
            self.assertEqual(caught.exception.status_code, status)
            self.assertEqual(caught.exception.type, kind)
            self.assertTrue(caught.exception.request_id)

    def test_kp02_a_wrong_key(self):
        with self.assertRaises(anthropic.AuthenticationError):
            client(api_key="sk-wrong").messages.create(**ask("f-text"))

    def test_kp06_an_unknown_model(self):
        self.refused("gpt-unheard-of", anthropic.NotFoundError, 404, "not_found_error")

    def test_kp06_a_provider_that_limits_rates(self):
        self.refused("f-status-429", anthropic.RateLimitError, 429, "rate_limit_error")

    def test_kp06_a_provider_that_fails(self):
        self.refused("f-status-500", anthropic.InternalServerError, 502, "api_error")

    def test_kp06_a_provider_that_rejects_its_own_key(self):
        self.refused("f-status-401", anthropic.InternalServerError, 502, "api_error")

    def test_kp06_a_request_that_the_provider_finds_wrong(self):
        self.refused("f-status-400", anthropic.BadRequestError, 400, "invalid_request_error")

    def test_kp06_a_page_of_html(self):
        self.refused("f-html", anthropic.InternalServerError, 502, "api_error")

    def test_kp07_it_is_tried_again_until_the_provider_is_back(self):
        sdk = client(max_retries=3)
        self.assertEqual(sdk.messages.create(**ask("f-3-times-503")).content[0].text, SENTENCE)
        with sdk.messages.stream(**ask("f-3-times-503")) as stream:
            self.assertEqual(stream.get_final_message().content[0].text, SENTENCE)

    def test_kp07_it_is_not_tried_again_where_that_cannot_help(self):
        before = len(upstream_bodies("f-status-401"))
        with self.assertRaises(anthropic.InternalServerError):
            client(max_retries=3).messages.create(**ask("f-status-401"))
        self.assertEqual(len(upstream_bodies("f-status-401")), before + 1)

    def test_kp08_a_broken_stream_raises_and_never_ends_well(self):
        for model in ("f-cut@700", "f-reset@700", "f-early@700"):
            with self.subTest(model), self.assertRaises(anthropic.APIStatusError) as caught:
                final_message(ask(model))
            self.assertEqual(caught.exception.type, "api_error")


if __name__ == "__main__":
    unittest.main()
