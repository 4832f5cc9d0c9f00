"""What the site's build needs besides mkdocs.yml.

pymdown-extensions wants the Markdown instance for its highlighter from 12 on; mkdocstrings 1.0.6
does not hand it one, and requirements.lock pins these two. The instance is used only for titles
that are HTML, of which there are none here. Goes away with a lock in which the two agree.
"""

from __future__ import annotations

from typing import Any

from pymdownx.highlight import Highlight  # type: ignore[import-untyped]

_with_markdown = Highlight.__init__


def _without_markdown(self: Any, md: Any = None, **options: Any) -> None:
    _with_markdown(self, md, **options)


def on_config(config: Any) -> Any:
    """Let a highlighter be made without a Markdown instance."""
    if _with_markdown.__code__.co_varnames[1] == "md":
        setattr(Highlight, "__init__", _without_markdown)  # noqa: B010 (mypy knows no other way)
    return config
