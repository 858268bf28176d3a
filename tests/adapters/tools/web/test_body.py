"""The body of a response, piece by piece."""

import gzip
import zlib
from collections.abc import Callable

import pytest

from parley_daemon.adapters.tools.web.body import Unpacker


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)], ids=["gzip", "deflate"]
)
def test_nothing_is_read_behind_the_end_of_a_compressed_body(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    packed, unpacker = pack(b"page"), Unpacker(encoding)
    assert unpacker.add(packed[:-2])
    # zlib would keep what follows, however much that is.
    assert not unpacker.add(packed[-2:] + b"more without end")
    assert (bytes(unpacker.data), unpacker.is_cut) == (b"page", False)
