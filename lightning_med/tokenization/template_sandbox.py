"""Renders chat templates, which are programs from outside, in jinja2's sandbox and within bounds.

The sandbox of jinja2 keeps a template from the files and from the attributes of Python's objects. It does not keep it
from running forever, so lines are counted, and text is not multiplied.
"""

from __future__ import annotations

import json
import operator
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType
from typing import TYPE_CHECKING, Any

from lightning_med.utils.errors import InputError

if TYPE_CHECKING:  # jinja2 is imported only where there is a template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_CHARACTERS = 100_000  # of a template; Llama 3.1's has 4,000
MAX_LINES = 200_000  # of Python that a rendering executes; a usual template takes below 1,000
_MAX_BYTES = 64 << 20  # of Python's objects that a rendering adds
_MAX_NUMBER = 10**12  # of a product

Render = Callable[[list[dict[str, str]], bool], str]  # messages, and whether a generation prompt is added


class _Unbounded(BaseException):
    """Stops a template. No `except Exception` of jinja2 catches it."""


def compile_template(template: str, special: Mapping[str, str]) -> Render:
    """Compiles a template as transformers does, but for today's date, which it cannot have.

    Args:
        template: The chat template.
        special: Special tokens by name, for instance `eos_token`; variables of the template.

    Raises:
        InputError: The template is too long or cannot be read; or, when it is rendered, it raises an error or executes
            more than `MAX_LINES` lines or needs too much memory.
    """
    if len(template) > MAX_CHARACTERS:
        raise refuse_template(f"has {len(template):,} characters, more than {MAX_CHARACTERS:,}")
    try:
        compiled = _make_environment().from_string(template)
    except Exception as error:  # whatever jinja2 raises, the template cannot be used
        raise refuse_template("cannot be read", error) from error

    def render(messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        variables = {"tools": None, "documents": None, "add_generation_prompt": add_generation_prompt}
        try:
            with _bound():
                return compiled.render(messages=messages, **variables, **special)
        except _Unbounded as error:
            raise refuse_template(f"does not end within {MAX_LINES:,} lines and {_MAX_BYTES >> 20} MiB") from error
        except Exception as error:  # the template is a program of its own
            reason = "asks for today's date" if "strftime_now" in str(error) else "raises an error"
            raise refuse_template(reason, error) from error

    return render


def refuse_template(reason: str, error: Exception | None = None) -> InputError:
    """Returns the error for a template that cannot be used."""
    detail = f": {str(error).strip().splitlines()[0][:160]}" if error is not None and str(error).strip() else ""
    return InputError(
        f"The tokenizer's chat template {reason}{detail.rstrip('.')}.",
        "Give --data.prompt_format plain, or a tokenizer with another chat template.",
    )


@contextmanager
def _bound() -> Iterator[None]:
    """Stops what runs inside after `MAX_LINES` lines of Python, or once its text grows without end."""
    lines, traced = 0, tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start()
    most = tracemalloc.get_traced_memory()[0] + _MAX_BYTES

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        if lines > MAX_LINES or tracemalloc.get_traced_memory()[0] > most:
            raise _Unbounded
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
        if not traced:
            tracemalloc.stop()


@lru_cache(maxsize=1)
def _make_environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError

    class Generation(Extension):
        """Renders what is between `{% generation %}` and `{% endgeneration %}` as it is."""

        tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    class Environment(ImmutableSandboxedEnvironment):
        """Multiplies small numbers only."""

        intercepted_binops = frozenset(["*", "**"])

        def call_binop(self, context: Context, operator_: str, left: Any, right: Any) -> Any:
            numbers = all(isinstance(value, (int, float)) and abs(value) <= _MAX_NUMBER for value in (left, right))
            if not numbers or operator_ == "**":
                raise SecurityError(f"it computes with {operator_} what may have no bound")
            return operator.mul(left, right)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    # Not optimized: jinja2 would compute constants when it compiles, where no line is counted.
    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    return environment
