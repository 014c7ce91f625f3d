"""The Python SDK against the scripted upstream: what its users can rely on."""

import asyncio
import unittest

import anthropic

from bed import BRIDGE_KEY, BRIDGE_URL, ask, client

SENTENCE = "The quick brown fox jumps over the lazy dog."
PARALLEL_STREAMS = 20

WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
        "required": ["city"],
    },
}


def final_message(body):
    with client().messages.stream(**body) as stream:
        return stream.get_final_message()


class Answers(unittest.TestCase):
    def test_text(self):
        for message in (client().messages.create(**ask("f-text")), final_message(ask("f-text"))):
            self.assertEqual([block.type for block in message.content], ["text"])
            self.assertEqual(message.content[0].text, SENTENCE)
            self.assertEqual(message.model, "f-text")
            self.assertEqual(message.stop_reason, "end_turn")
            self.assertEqual((message.usage.input_tokens, message.usage.output_tokens), (20, 10))

    def test_cached_tokens_are_told_apart(self):
        for message in (client().messages.create(**ask("f-cached")), final_message(ask("f-cached"))):
            self.assertEqual(message.usage.input_tokens, 36)
            self.assertEqual(message.usage.cache_read_input_tokens, 64)

    def test_running_out_of_tokens(self):
        self.assertEqual(client().messages.create(**ask("f-length")).stop_reason, "max_tokens")
        self.assertEqual(final_message(ask("f-length")).stop_reason, "max_tokens")

    def test_thinking_only_where_it_was_asked_for(self):
        thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}, **ask("f-think")}
        thinking["max_tokens"] = 2048
        for message in (client().messages.create(**thinking), final_message(thinking)):
            self.assertEqual([block.type for block in message.content], ["thinking", "text"])
            self.assertEqual(message.content[0].thinking, "A pangram is wanted.")
        self.assertEqual([block.type for block in final_message(ask("f-think")).content], ["text"])

    def test_parallel_tools_round_trip(self):
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

    def test_count_tokens(self):
        body = ask("f-text", "How many tokens are these?")
        del body["max_tokens"]
        count = client().messages.count_tokens(**body).input_tokens
        self.assertGreater(count, 5)
        self.assertLess(count, 40)

    def test_many_streams_at_once(self):
        async def one(sdk, number):
            prompt = f"number {number}"
            async with sdk.messages.stream(**ask("f-echo", prompt)) as stream:
                return (await stream.get_final_message()).content[0].text

        async def all_of_them():
            async with anthropic.AsyncAnthropic(base_url=BRIDGE_URL, api_key=BRIDGE_KEY) as sdk:
                return await asyncio.gather(*(one(sdk, number) for number in range(PARALLEL_STREAMS)))

        texts = asyncio.run(all_of_them())
        self.assertEqual(texts, [f"number {number}" for number in range(PARALLEL_STREAMS)])


class Failures(unittest.TestCase):
    def refused(self, model, error_class, status, kind):
        for call in (lambda: client().messages.create(**ask(model)), lambda: final_message(ask(model))):
            with self.assertRaises(error_class) as caught:
                call()
            self.assertEqual(caught.exception.status_code, status)
            self.assertEqual(caught.exception.type, kind)
            self.assertTrue(caught.exception.request_id)

    def test_a_wrong_key(self):
        with self.assertRaises(anthropic.AuthenticationError):
            client(api_key="sk-wrong").messages.create(**ask("f-text"))

    def test_an_unknown_model(self):
        self.refused("gpt-unheard-of", anthropic.NotFoundError, 404, "not_found_error")

    def test_a_provider_that_limits_rates(self):
        self.refused("f-status-429", anthropic.RateLimitError, 429, "rate_limit_error")

    def test_a_provider_that_fails(self):
        self.refused("f-status-500", anthropic.InternalServerError, 502, "api_error")

    def test_a_provider_that_rejects_its_own_key(self):
        self.refused("f-status-401", anthropic.InternalServerError, 502, "api_error")

    def test_a_request_that_the_provider_finds_wrong(self):
        self.refused("f-status-400", anthropic.BadRequestError, 400, "invalid_request_error")

    def test_a_page_of_html(self):
        self.refused("f-html", anthropic.InternalServerError, 502, "api_error")

    def test_a_broken_stream_raises_and_never_ends_well(self):
        for model in ("f-cut@700", "f-reset@700", "f-early@700"):
            with self.subTest(model), self.assertRaises(anthropic.APIStatusError) as caught:
                final_message(ask(model))
            self.assertEqual(caught.exception.type, "api_error")


if __name__ == "__main__":
    unittest.main()
