"""The same questions to a real model, through the bridge and straight at it."""

import unittest

import anthropic

from bed import MODEL_NAME, MODEL_URL, ask_model_directly, client

PROMPTS = ["Say hello.", "Name three colours.", "Écris une phrase sur la mer — en français 🌊."]
MAX_TOKENS = 120
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


@unittest.skipUnless(MODEL_URL, "needs the real model")
class SameAsTheModel(unittest.TestCase):
    def bodies(self, prompt, system):
        messages = [{"role": "user", "content": prompt}]
        ours = {"model": MODEL_NAME, "max_tokens": MAX_TOKENS, "messages": messages}
        theirs = {"max_tokens": MAX_TOKENS, "temperature": 0, "messages": messages}
        if system:
            ours["system"] = system
            theirs["messages"] = [{"role": "system", "content": system}, *messages]
        # The SDK's types no longer know it, the API still does.
        return {**ours, "extra_body": {"temperature": 0}}, theirs

    def assert_same(self, message, direct):
        choice, usage = direct["choices"][0], direct["usage"]
        self.assertEqual("".join(block.text for block in message.content), choice["message"]["content"])
        self.assertEqual(message.stop_reason, STOP_REASONS[choice["finish_reason"]])
        prompt_tokens = message.usage.input_tokens + message.usage.cache_read_input_tokens
        self.assertEqual(prompt_tokens, usage["prompt_tokens"])
        self.assertEqual(message.usage.output_tokens, usage["completion_tokens"])

    def test_text_and_token_counts(self):
        for prompt in PROMPTS:
            for system in (None, "You are terse."):
                with self.subTest(prompt=prompt, system=system):
                    ours, theirs = self.bodies(prompt, system)
                    direct = ask_model_directly(theirs)
                    self.assert_same(client().messages.create(**ours), direct)
                    with client().messages.stream(**ours) as stream:
                        pieces = list(stream.text_stream)
                        message = stream.get_final_message()
                    self.assert_same(message, direct)
                    self.assertGreater(len(pieces), 3, "the stream came in one piece")

    def test_a_prompt_that_is_too_long_says_so_in_the_words_that_clients_know(self):
        ours, _ = self.bodies("word " * 9000, None)
        with self.assertRaises(anthropic.BadRequestError) as caught:
            client().messages.create(**ours)
        self.assertRegex(str(caught.exception), r"prompt is too long: \d+ tokens > \d+ maximum")


if __name__ == "__main__":
    unittest.main()
