"""Images in chat-completions answers."""

import pytest

from parley_daemon.core.parts import (
    File,
    Text,
)
from tests.support.providers.chat_parsing import END, PNG, batch, deltas, image, parts


def test_images_become_files_in_order() -> None:
    stream = deltas(
        {"content": "Here"}, {"content": " it is", "images": [PNG]}, {"content": "And", "images": None}
    )
    whole = (Text("Here it is"), File("image/png", data="aGk="), Text("And"))
    assert parts(stream, END) == whole
    assert parts(*[event + b"\n\n" for event in stream.split(b"\n\n") if event], END) == whole
    assert parts(batch({"content": "", "images": [PNG, PNG]})) == (whole[1], whole[1])


def test_an_image_may_be_an_item_of_the_content() -> None:
    assert parts(deltas({"content": [{"type": "text", "text": "a"}, PNG]}), END) == (
        Text("a"),
        File("image/png", data="aGk="),
    )


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("DATA:Image/JPEG;name=x;base64,a%2Bk=", File("image/jpeg", data="a+k=")),
        ("data:image/svg+xml,%3Csvg/%3E", File("image/svg+xml", data="PHN2Zy8+")),
        ("data:;base64,aGk=", File("image/png", data="aGk=")),
        ("https://h.org/a/Cat.JPG?w=1", File("image/jpeg", url="https://h.org/a/Cat.JPG?w=1")),
        ("https://h.org/cat.webp", File("image/webp", url="https://h.org/cat.webp")),
        ("https://h.org/image/7", File("image/png", url="https://h.org/image/7")),
        ("https://h.org/\ud83d", File("image/png", url="https://h.org/\ufffd")),
    ],
)
def test_an_image_is_read_from_a_data_url_or_kept_as_a_url(url: str, file: File) -> None:
    for shape in (url, {"url": url, "detail": "high"}):
        assert parts(deltas({"content": "", "images": [image(shape)]}), END) == (file,)


@pytest.mark.parametrize(
    "images", ["odd", {}, [1], [{}], [image(None)], [image("data:,")], [image("/a.png")]]
)
def test_invalid_images_are_ignored(images: object) -> None:
    assert parts(deltas({"content": "a"}, {"content": "b", "images": images}), END) == (Text("ab"),)
