"""Makes docstrings fit for Markdown: examples become code blocks, and `<s>` stays text.

Without it Markdown reads `>>>` as three quotations and `<s>` as HTML, which is not shown.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)  # up to a blank line, as doctest reads it
CODE = re.compile(r"(```.*?^```$|`[^`]+`|^ {4}.*$)", re.MULTILINE | re.DOTALL)


class Doctests(Extension):
    """Changes every docstring before it is read as Markdown."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """The docstring with its examples fenced, and with `<` escaped outside code.

    >>> as_markdown("Adds to <s>.\\n\\n>>> 1 + 1\\n2")
    'Adds to &lt;s>.\\n\\n```pycon\\n>>> 1 + 1\\n2\\n```'
    """
    fenced = EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", docstring)
    parts = CODE.split(fenced)  # every second one is code
    return "".join(part if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(parts))
