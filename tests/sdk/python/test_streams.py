"""The Python SDK and answers that break off: wherever that happens, and however the answer is read,
it is an exception and never a success.

Runs with the newest SDK and with the last one of the old protocol.
"""

import contextlib
import itertools
import json
import socket
import struct
import threading
import time
import unittest
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import anthropic

from bed import BRIDGE_KEY, BRIDGE_URL, UPSTREAM_URL, ask, client, upstream_bodies

AT_ONCE = 8
# A client costs more than what it is asked to do.
SDK = client()
SOCKET_PATIENCE_S = 10

MIXED = ask("f-mixed") | {
    "max_tokens": 2048,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tools": [{"name": "get_weather", "description": "The weather", "input_schema": {"type": "object"}}],
}


def final_message(body):
    with SDK.messages.stream(**body) as stream:
        return stream.get_final_message()


def events_put_together(body):
    """What a program makes of the raw events itself."""
    message, stopped = None, False
    for event in SDK.messages.create(**body, stream=True):
        if event.type == "message_start":
            assert message is None, "two beginnings"
            message = event.message
        stopped = stopped or event.type == "message_stop"
    assert stopped, "an end without a word"
    return message


def helper_iterated(body):
    with SDK.messages.stream(**body) as stream:
        for _ in stream:
            pass
        return stream.get_final_message()


def text_only(body):
    with SDK.messages.stream(**body) as stream:
        return "".join(stream.text_stream)


def beta_helper(body):
    with SDK.beta.messages.stream(**body) as stream:
        return stream.get_final_message()


WAYS = [final_message, helper_iterated, text_only, beta_helper, events_put_together]


def upstream_events(model):
    """The events that a model streams for this question, and where its finish reason comes."""
    native = model.startswith("n-")
    path = "v1/messages" if native else "chat/completions"
    question = ask(model) | {"stream": True}
    if not native:
        question["stream_options"] = {"include_usage": True}
    url = f"{UPSTREAM_URL.removesuffix('/v1') if native else UPSTREAM_URL}/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data=json.dumps(question).encode())) as response:
        events = response.read().decode().split("\n\n")[:-1]
    ends = [n for n, event in enumerate(events) if '"finish_reason":"' in event or "message_stop" in event]
    return events, ends[-1]


class CutStreams(unittest.TestCase):
    def assert_broken(self, way, model):
        """Raises what a program catches; `create` without a retry."""
        try:
            result = way(MIXED | {"model": model})
        except anthropic.APIStatusError as error:
            return error
        except AssertionError as error:
            raise AssertionError(f"{model}, {way.__name__}: {error}") from error
        raise AssertionError(f"{model}, {way.__name__}: ended well with {result}")

    def everywhere(self, model, places):
        """Each cut is read in one way, and each way meets cuts of every kind."""
        cuts = [f"{model}~{end}@{place}" for place in places for end in ("cut", "reset", "early")]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            errors = list(pool.map(self.assert_broken, itertools.cycle(WAYS), cuts))
        for name, error in zip(cuts, errors, strict=True):
            self.assertEqual(error.type, "api_error", name)
        return errors

    def test_kp14_a_cut_after_any_event_is_an_exception(self):
        for model in ("f-mixed", "n-mixed"):
            events, end = upstream_events(model)
            self.assertGreater(end, 10, events)
            errors = self.everywhere(model, [f"{n}ev" for n in range(end + 1)])
            # Some before the first content, with a status; most of them later, inside a 200.
            statuses = {error.status_code for error in errors}
            self.assertIn(502, statuses)
            self.assertIn(200, statuses)

    def test_kp14_a_cut_inside_an_event_is_an_exception(self):
        for model in ("f-mixed", "n-mixed"):
            events, end = upstream_events(model)
            bytes_before_end = len("\n\n".join(events[:end]))
            self.everywhere(model, range(1, bytes_before_end, 311))

    def test_kp14_an_answer_that_is_whole_ends_well(self):
        for model in ("f-mixed", "n-mixed"):
            message = SDK.messages.create(**MIXED | {"model": model})
            kinds = [block.type for block in message.content]
            self.assertEqual(kinds, ["thinking", "text", "tool_use", "tool_use"])
            for way in (final_message, helper_iterated, beta_helper):
                streamed = way(MIXED | {"model": model})
                self.assertEqual([block.type for block in streamed.content], kinds)
                for mine, other in zip(streamed.content[2:], message.content[2:], strict=True):
                    self.assertEqual(mine.input, other.input)
                self.assertEqual(streamed.stop_reason, message.stop_reason)

    def test_kp14_an_error_or_nonsense_in_the_stream_is_an_exception(self):
        faults = ("error@3ev", "bad-line@4ev", "error@12ev", "bad-line@11ev", "error@7ev")
        for fault, way in zip(faults, WAYS, strict=True):
            self.assertEqual(self.assert_broken(way, f"f-mixed~{fault}").type, "api_error")

    def test_kp14_a_cut_document_is_an_exception(self):
        for place in range(0, 600, 150):
            with self.assertRaises(anthropic.InternalServerError) as caught:
                SDK.messages.create(**MIXED | {"model": f"f-mixed~cut@{place}"})
            self.assertEqual(caught.exception.status_code, 502)


class FirstEvents(unittest.TestCase):
    def test_kp15_an_error_in_the_first_event_has_a_status(self):
        for fault, status, kind in (
            ("first-overloaded", 529, "overloaded_error"),
            ("first-quota", 502, "api_error"),
            ("first-fire", 502, "api_error"),
        ):
            for way in (final_message, events_put_together, lambda body: SDK.messages.create(**body)):
                with self.subTest(fault), self.assertRaises(anthropic.APIStatusError) as caught:
                    way(ask(f"f-text~{fault}"))
                self.assertEqual((caught.exception.status_code, caught.exception.type), (status, kind))


class Retries(unittest.TestCase):
    """How often the SDK asks, as the bridge's headers tell it. The bridge itself asks twice where that may help."""

    def tries(self, model, error_class, max_retries=2):
        before = len(upstream_bodies(model))
        started = time.monotonic()
        with self.assertRaises(error_class):
            client(max_retries=max_retries).messages.create(**ask(model))
        return len(upstream_bodies(model)) - before, time.monotonic() - started

    def test_kp16_a_rate_limit_is_waited_for(self):
        calls, took = self.tries("f-text~status-429-after-1", anthropic.RateLimitError)
        self.assertEqual(calls, 3)
        self.assertGreaterEqual(took, 2)

    def test_kp16_a_limit_of_hours_is_told_at_once(self):
        calls, took = self.tries("f-text~status-429-after-3600", anthropic.RateLimitError)
        self.assertEqual(calls, 1)
        self.assertLess(took, 2)

    def test_kp16_an_overloaded_provider_is_asked_again(self):
        for status in (503, 529):
            calls, _ = self.tries(f"f-text~status-{status}-after-1", anthropic.APIStatusError, max_retries=1)
            self.assertEqual(calls, 4, status)


class Balancer:
    """Stands for a balancer before two nodes. The first one dies after some bytes of its first answer."""

    def __init__(self, dies_after):
        self.dies_after = dies_after
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                limit = self.dies_after if self.connections == 1 else None
                threading.Thread(target=self.pass_on, args=(connection, limit), daemon=True).start()

    def pass_on(self, client_side, limit):
        bridge = urlsplit(BRIDGE_URL)
        address = (bridge.hostname, bridge.port)
        with contextlib.suppress(OSError), client_side, socket.create_connection(address) as node:
            for end in (client_side, node):
                end.settimeout(SOCKET_PATIENCE_S)
            threading.Thread(target=copy, args=(client_side, node), daemon=True).start()
            passed = 0
            while data := node.recv(65536):
                if limit is not None and passed + len(data) >= limit:
                    client_side.sendall(data[: limit - passed])
                    # Wakes the other direction, which would keep the socket open.
                    client_side.shutdown(socket.SHUT_RD)
                    # The kernel resets what a killed process had open.
                    client_side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                client_side.sendall(data)
                passed += len(data)


def copy(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


class LostNodes(unittest.TestCase):
    def sdk(self, dies_after, **options):
        balancer = Balancer(dies_after)
        self.addCleanup(balancer.close)
        return balancer, anthropic.Anthropic(base_url=balancer.url, api_key=BRIDGE_KEY, **options)

    def test_kp17_a_node_that_dies_before_its_answer_is_made_up_for_by_another(self):
        balancer, sdk = self.sdk(dies_after=0)
        self.assertTrue(sdk.messages.create(**ask("f-text")).content[0].text)
        self.assertEqual(balancer.connections, 2)

    def test_kp17_a_node_that_dies_in_its_answer_never_looks_like_success(self):
        reads = (lambda stream: stream.get_final_message(), lambda stream: "".join(stream.text_stream), list)
        for dies_after, read in zip(range(100, 3000, 290), itertools.cycle(reads)):
            _, sdk = self.sdk(dies_after, max_retries=0)
            # What a lost connection raises is the transport's affair.
            with self.subTest(dies_after), self.assertRaises(Exception):
                with sdk.messages.stream(**MIXED) as stream:
                    read(stream)


if __name__ == "__main__":
    unittest.main()
