"""Writes a language model of some thousand random weights, as GGUF: what llama.cpp runs, without a download.

What it says is nonsense in syllables, and the same nonsense whenever it is asked without randomness.
"""

import random
import struct
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path

_CONTEXT, _WIDTH, _HEADS, _HIDDEN = 512, 32, 4, 64
_ALIGNMENT = 32
_UINT32, _FLOAT32, _STRING, _ARRAY, _INT32 = 4, 6, 8, 9, 5
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "
)
_WORDS = [f"▁{consonant}{vowel}" for consonant in "bdfgklmnprst" for vowel in "aeiou"]


def write_tiny_model(path: Path) -> None:
    """Write the model to a file."""
    tokens = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)], *_WORDS]
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256, *[_NORMAL] * len(_WORDS)]
    scores = [-float(rank) for rank in range(len(tokens))]
    metadata = [
        _text("general.architecture", "llama"),
        _number("llama.context_length", _CONTEXT),
        _number("llama.embedding_length", _WIDTH),
        _number("llama.block_count", 1),
        _number("llama.feed_forward_length", _HIDDEN),
        _number("llama.attention.head_count", _HEADS),
        _number("llama.rope.dimension_count", _WIDTH // _HEADS),
        _key("llama.attention.layer_norm_rms_epsilon", _FLOAT32) + struct.pack("<f", 1e-5),
        _text("tokenizer.ggml.model", "llama"),
        _list("tokenizer.ggml.tokens", _STRING, [_string(token) for token in tokens]),
        _list("tokenizer.ggml.scores", _FLOAT32, [struct.pack("<f", score) for score in scores]),
        _list("tokenizer.ggml.token_type", _INT32, [struct.pack("<i", kind) for kind in kinds]),
        _number("tokenizer.ggml.bos_token_id", 1),
        _number("tokenizer.ggml.eos_token_id", 2),
        _text("tokenizer.chat_template", _TEMPLATE),
    ]
    tensors = list(_tensors(len(tokens)))
    infos, data = b"", b""
    for name, shape, weights in tensors:
        sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        infos += _string(name) + sizes + struct.pack("<IQ", 0, len(data))  # 0: 32-bit floats
        data += _padded(weights)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + b"".join(metadata) + infos
    path.write_bytes(_padded(head) + data)


def _tensors(vocabulary: int) -> Iterator[tuple[str, tuple[int, ...], bytes]]:
    """Yield (name, shape, weights); the first size is the one whose neighbours lie side by side."""
    dice = random.Random(7)

    def matrix(columns: int, rows: int, silent: int = 0) -> tuple[tuple[int, int], bytes]:
        spoken = [dice.gauss(0, 0.5) for _ in range(columns * (rows - silent))]
        return (columns, rows), _little_endian(array("f", [0.0] * columns * silent + spoken))

    ones = (_WIDTH,), _little_endian(array("f", [1.0] * _WIDTH))
    yield "token_embd.weight", *matrix(_WIDTH, vocabulary)
    for name in ("attn_norm", "ffn_norm"):
        yield f"blk.0.{name}.weight", *ones
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        yield f"blk.0.{name}.weight", *matrix(_WIDTH, _WIDTH)
    for name in ("ffn_gate", "ffn_up"):
        yield f"blk.0.{name}.weight", *matrix(_WIDTH, _HIDDEN)
    yield "blk.0.ffn_down.weight", *matrix(_HIDDEN, _WIDTH)
    yield "output_norm.weight", *ones
    yield "output.weight", *matrix(_WIDTH, vocabulary, vocabulary - len(_WORDS))  # it says syllables only


def _little_endian(weights: "array[float]") -> bytes:
    if sys.byteorder == "big":
        weights.byteswap()
    return weights.tobytes()


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _key(name: str, kind: int) -> bytes:
    return _string(name) + struct.pack("<I", kind)


def _text(name: str, text: str) -> bytes:
    return _key(name, _STRING) + _string(text)


def _number(name: str, number: int) -> bytes:
    return _key(name, _UINT32) + struct.pack("<I", number)


def _list(name: str, kind: int, values: list[bytes]) -> bytes:
    return _key(name, _ARRAY) + struct.pack("<IQ", kind, len(values)) + b"".join(values)
