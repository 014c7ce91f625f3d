"""The two calls that `deploy/up` makes, with nothing but Python's standard library.

    quickstart.py key ADMIN_URL EMAIL NAME     makes an API key and prints it; the password is on standard input
    quickstart.py ask URL MODEL PROMPT         prints an answer as it streams in; the API key is on standard input

The admin API is gRPC; over HTTP/1.1 it speaks grpc-web, where a message is five bytes of frame and
the protobuf. The few string fields needed here are written and read by hand, so that a first start
needs no generated code and no gRPC package. For anything more use a real client (`buf curl`, grpcurl).
"""

import json
import sys
import time
import urllib.error
import urllib.request

STRING = 2  # protobuf's wire type of everything with a length
REQUEST_TIMEOUT_S = 600


def encode_varint(number):
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def decode_varint(encoded, at):
    number = shift = 0
    while True:
        number |= (encoded[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if encoded[at - 1] < 0x80:
            return number, at


def encode_strings(fields):
    """A protobuf message of strings: {number: text}."""
    message = b""
    for number, text in fields.items():
        value = text.encode()
        message += encode_varint(number << 3 | STRING) + encode_varint(len(value)) + value
    return message


def decode_string(message, wanted):
    """The first field with this number that has a length; others are skipped."""
    at = 0
    while at < len(message):
        tag, at = decode_varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == STRING:
            length, at = decode_varint(message, at)
            if number == wanted:
                return message[at : at + length].decode()
            at += length
        elif wire_type == 0:
            _, at = decode_varint(message, at)
        else:
            at += {1: 8, 5: 4}[wire_type]
    sys.exit(f"the control plane's answer has no field {wanted}")


def call(admin_url, method, fields, token=None):
    """One unary call; answers the message."""
    message = encode_strings(fields)
    request = urllib.request.Request(
        f"{admin_url}/bridge.admin.v1.{method}",
        data=b"\0" + len(message).to_bytes(4, "big") + message,
        headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
    )
    if token:
        request.add_header("authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:
        body = response.read()
        refusal = response.headers.get("grpc-message")
    if not body or body[0] != 0:
        sys.exit(f"{method}: {urllib.request.unquote(refusal or 'refused')}")
    return body[5 : 5 + int.from_bytes(body[1:5], "big")]


def make_key(admin_url, email, name):
    password = sys.stdin.read().strip()
    token = decode_string(call(admin_url, "AuthService/Login", {1: email, 2: password}), 1)
    print(decode_string(call(admin_url, "ApiKeyService/CreateApiKey", {1: name}, token), 2))


def ask(url, model, prompt):
    key = sys.stdin.read().strip()
    body = {"model": model, "max_tokens": 150, "stream": True, "messages": [{"role": "user", "content": prompt}]}
    request = urllib.request.Request(
        f"{url}/v1/messages",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "x-api-key": key},
    )
    started, first_text_at = time.monotonic(), None
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:
            for line in response:
                if not line.startswith(b"data: "):
                    continue
                event = json.loads(line[len("data: ") :])
                if event["type"] == "error":
                    sys.exit(f"\n{event['error']['message']}")
                text = event.get("delta", {}).get("text", "")
                if text and first_text_at is None:
                    first_text_at = time.monotonic() - started
                print(text, end="", flush=True)
    except urllib.error.HTTPError as error:
        sys.exit(json.load(error)["error"]["message"])
    if first_text_at is None:
        sys.exit("the answer was empty")
    print(f"\n(first words after {first_text_at:.2f} s, all after {time.monotonic() - started:.2f} s)")


def main():
    match sys.argv[1:]:
        case ["key", admin_url, email, name]:
            make_key(admin_url, email, name)
        case ["ask", url, model, prompt]:
            ask(url, model, prompt)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
