"""Recognises errors that say that a request is too long for the model.

Theory of operation. Every provider words this error in its own way and changes the words, so no list of
sentences can be complete. What the sentences have in common is their meaning, and it is made of three
concepts close to each other: the input (prompt, messages, request, …), its size (tokens, length, …), and a
limit that is exceeded (exceeds, longer than, maximum, range, …). Counts of tokens need no input beside them
if they plainly exceed something. The codes of errors (`tokens_limit_reached`) are read the same way, as
words; codes that are bare numbers are listed.

Sentences with the same concepts that mean something else are sorted out first: the limit of the answer
(`max_tokens`), tokens per minute, credentials that are called tokens, and the limits of single fields, such
as names and ids, of images, headers and URLs.
"""

import re

_WINDOW = 120  # how far apart the concepts may be, in characters

# "context_length" and its like stand for the whole meaning.
_CONTEXT = re.compile(
    r"context[ _-]?(?:length|window|size|limit|overflow)|max(?:imum)? (?:context|sequence)"
    r"|max_(?:seq|model)_len|n_ctx"
    # What is left for the answer when the input takes more than the whole context.
    r"|max_(?:completion_)?tokens['\"`]? must be (?:at least|greater than|positive).{0,20} got -\d"
    r"|(?:not|n't) fit .{0,40}context|上下文(?:长度|窗口|超)",
    re.IGNORECASE,
)
_INPUT = re.compile(
    r"(?<![a-z])(?:prompt|input|message|context|conversation|histor(?:y|ies)|dialog|request|body|payload|text"
    r"|content|total|sequence|quer(?:y|ies)|document)|入力|输入|提示|上下文|消息|对话|请求|内容|文本",
    re.IGNORECASE,
)
_TOKENS = re.compile(
    r"(?<![a-z])tokens(?![a-z])|(?<![a-z])token[ _-]?(?:count|limit|length|number|size|budget|usage|数)"
    r"|トークン",
    re.IGNORECASE,
)
_SIZE = re.compile(
    r"(?<![a-z])(?:tokens(?![a-z])|token[ _-]?(?:count|limit|number|size|budget|usage)|(?:max_?)?length"
    r"|too long|longer|characters?(?![a-z])|chars(?![a-z]))"
    r"|(?:not|n't) fit(?: \w+){0,3} in(?:to)?(?![a-z])|トークン|长度|超长|过长|字符|字数",
    re.IGNORECASE,
)
_EXCEEDED = (
    r"exceed|overflow|surpass|(?<![a-z])(?:over|above|beyond)(?![a-z])|(?:more|greater) than"
    r"|(?:long|larg|bigg|high)er than|too (?:long|large|big|many|high)"
    r"|limit[ _](?:was |is |has been )?(?:reached|hit)"
    r"|(?:not|n't) fit|out of (?:range|context)|\d ?> ?\d|超|过长|过大|过多|大于"
)
_OVER = re.compile(_EXCEEDED, re.IGNORECASE)
_LIMITED = re.compile(
    _EXCEEDED
    + r"|(?<![a-z])(?:maximum|max|max_?length|limit|range)(?![a-z])|(?:limit|restrict)ed to|at most|up to"
    r"|no more than|(?:less|fewer|smaller|shorter) than|(?:be|stay|keep) (?:under|below|within)|reduce"
    r"|shorten|[<≤]=? ?\d|上限|最大|限制|不能",
    re.IGNORECASE,
)
# One field of a request whose text is part of the conversation, in OpenAI's words for a field.
_LONG_FIELD = re.compile(
    r"invalid '(?:[^']*[.\]])?(?:content|text|input|prompt|messages|output|arguments|instructions)'"
    r": (?:string|array) too long",
    re.IGNORECASE,
)
_OTHER_FIELD = re.compile(
    r"invalid '[^']*': (?:string|array) too long"
    r"|[.\]]\w*(?:name|id|identifier|metadata|description|key|title|schema|url|stop)(?![a-z])",
    re.IGNORECASE,
)
# What does not count: the size of the answer, names of fields, credentials, ids of requests. A token in the
# singular is one, too.
_NOISE = re.compile(
    r"['\"`]?max_?(?:completion_?|output_?|new_?|gen(?:eration)?_?)?tokens['\"`]?|num_predict|max_gen_len"
    r"|(?:thinking[ _.]?)?budget_?tokens"
    r"|(?:thinking|reasoning)[ _.]?budget(?:\W{0,3}\d[\d,]*)?(?:[ _]?tokens)?"
    r"|(?:completion|output|generated|generation|response|reasoning|thinking|new|cached?)[ _-]"
    r"(?:tokens?|length|limit|size)"
    r"|(?:api|access|auth\w*|bearer|security|session|refresh|csrf|unexpected|special|stop|end)[ _-]tokens?"
    r"|request[ _-]?id\W*[\w-]*|(?<!\w)\w{1,40}_(?:key|id|name)(?![a-z])",
    re.IGNORECASE,
)
_OTHER_SIZE = re.compile(
    r"(?<![a-z])(?:images?|audio|video|pdf|files?|pages|pixels|bytes|[kmg]i?b|megabytes|headers?|cookies?|ur[il]s?"
    r"|path|tools?|functions?|token)(?![a-z])",
    re.IGNORECASE,
)
RATE = re.compile(
    r"(?<![a-z])per[ -_]?(?:second|min|hour|day|week|month)"
    r"|(?:tokens?|requests?) ?/ ?(?:s|sec|second|min|minute|h|hour|day)(?![a-z])"
    r"|(?<![a-z])[iot]?(?:tp|rp)[mdhs](?![a-z])|rate[ _-]?limit|too many requests|throttl"
    r"|(?:minute|hour|dai|week|month)ly[ _-](?:\w+[ _-])?(?:limit|quota|token|usage)"
    r"|in (?:a|one|the last) minute"
    r"|too many tokens, please wait|每(?:分钟|小时|天|秒)|限流",
    re.IGNORECASE,
)
"""Words of a limit on how much may be sent within some time."""

_CODES = re.compile(r"(?<![\w.-])(?:1261|10907|336007|336103)(?![\w.-])")  # Z.ai, Spark, Baidu (two)
_COUNT = re.compile(r"(?<![\w.])\d{1,3}(?:,?\d{3})+(?!\w)")
_REQUESTED = re.compile(r"limit:? (\d[\d,]{0,20}).{0,40}?requested:? (\d[\d,]{0,20})", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def is_overflow(message: str, label: str) -> bool:
    """Return whether an error says that a request is too long for its model.

    `message` is its sentence, `label` its codes and types, separated by spaces.
    """
    if RATE.search(message) or RATE.search(label):
        return False
    words = [_CAMEL.sub(" ", code).replace("_", " ").replace("-", " ") for code in label.split()]
    return _CODES.search(label) is not None or any(map(_says_overflow, (*words, message)))


def counts_overflow(message: str, label: str) -> bool:
    """Return whether an error says so and names the counts: a limit, and more tokens than that."""
    counts = {int(number.replace(",", "")) for number in _COUNT.findall(message)}
    return len(counts) > 1 and is_overflow(message, label)


def exceeds_rate(message: str, label: str) -> bool:
    """Return whether one request is larger than a limit within some time: it will be so again."""
    found = _REQUESTED.search(message)
    if found is None or not (RATE.search(message) or RATE.search(label)):
        return False
    limit, requested = (int(number.replace(",", "")) for number in found.groups())
    return requested > limit


def _says_overflow(text: str) -> bool:
    if _CONTEXT.search(text) or _LONG_FIELD.search(text):
        return True
    if _OTHER_FIELD.search(text):
        return False
    text = _NOISE.sub(" ", text)
    has_tokens = _TOKENS.search(text) is not None
    if not has_tokens and _OTHER_SIZE.search(text):
        return False
    if any(_OVER.search(_around(text, found)) for found in _TOKENS.finditer(text)):
        return True
    return any(
        _INPUT.search(near) and _LIMITED.search(near)
        for near in (_around(text, found) for found in _SIZE.finditer(text))
    )


def _around(text: str, found: re.Match[str]) -> str:
    return text[max(0, found.start() - _WINDOW) : found.end() + _WINDOW]
