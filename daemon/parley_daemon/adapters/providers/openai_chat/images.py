"""Reads the images in a chat-completions answer. Nearly all are data URLs."""

import re

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import convert_or_none, replace_surrogates
from parley_daemon.adapters.providers.shared.content import is_data_url, read_data_url
from parley_daemon.core.parts import File

_ENDING = re.compile(r"(?i)\.(png|jpe?g|webp|gif|avif|bmp|svg)(?:[?#]|$)")
_MEDIA_TYPE = re.compile(r"(?i)data:\s*([\w.+-]+/[\w.+-]+)")
_MEDIA_TYPES = {"jpg": "image/jpeg", "svg": "image/svg+xml"}
_USUAL = "image/png"  # of a URL without a known extension


class _Address(msgspec.Struct):
    url: str


class _Image(msgspec.Struct):
    image_url: _Address | str


def read_image(value: object) -> File | None:
    """Return the image in an item of `images` or of a content list; None: there is none."""
    image = convert_or_none(value, _Image)
    if image is None:
        return None
    url = image.image_url if isinstance(image.image_url, str) else image.image_url.url
    url = url if url.isascii() else replace_surrogates(url)  # a data URL may have megabytes
    if is_data_url(url):
        data = read_data_url(url)
        return File(_media_type_in(url), data=data) if data else None
    return File(_media_type_of(url), url=url) if "://" in url else None


def _media_type_in(data_url: str) -> str:
    found = _MEDIA_TYPE.match(data_url)
    return found.group(1).lower() if found else _USUAL


def _media_type_of(url: str) -> str:
    found = _ENDING.search(url)
    if found is None:
        return _USUAL
    ending = found.group(1).lower()
    return _MEDIA_TYPES.get(ending, f"image/{ending}")
