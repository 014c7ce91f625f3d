"""Where the bridge under test is: `tests/run` starts it and says so in the environment."""

import json
import os
import urllib.request

import anthropic

BRIDGE_URL = os.environ["BRIDGE_URL"]
BRIDGE_KEY = os.environ["BRIDGE_KEY"]
UPSTREAM_URL = os.environ["UPSTREAM_URL"]
# The real model; scenarios that need it are skipped without it.
MODEL_URL = os.environ.get("MODEL_URL")
MODEL_NAME = os.environ.get("MODEL_NAME")


def client(api_key=BRIDGE_KEY, **options):
    return anthropic.Anthropic(base_url=BRIDGE_URL, api_key=api_key, **{"max_retries": 0, **options})


def ask(model, prompt="Hello, you."):
    return {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": prompt}]}


def final_message(body):
    with client().messages.stream(**body) as stream:
        return stream.get_final_message()


def both_ways(body):
    """The same question, answered by one JSON document and by a stream that was put together."""
    return client().messages.create(**body), final_message(body)


def upstream_bodies(model):
    """The bodies of all requests for a model that came through to the upstream."""
    with urllib.request.urlopen(f"{UPSTREAM_URL}/requests/{model}") as response:
        return json.load(response)


def ask_model_directly(body):
    """The OpenAI-compatible server itself, without a bridge and without an SDK."""
    request = urllib.request.Request(
        f"{MODEL_URL}/chat/completions",
        data=json.dumps({"model": MODEL_NAME, **body}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)
