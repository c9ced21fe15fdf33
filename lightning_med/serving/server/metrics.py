"""Counts for Prometheus: requests, tokens, verdicts, times. No text of anyone is in them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lightning_med.serving.reply import Reply

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120)


class Metrics:
    """The counts of one server.

    Args:
        get_load: Returns how many answers are being written, and how many wait.
    """

    def __init__(self, get_load: Callable[[], tuple[int, int]]) -> None:
        self.registry = CollectorRegistry()

        def make(kind: type, name: str, text: str, labels: tuple[str, ...] = (), **options: object) -> object:
            return kind(f"lightning_med_{name}", text, labels, registry=self.registry, **options)

        self._answers = make(
            Counter, "answers", "Answers, by interface and level of the question", ("interface", "level")
        )
        self._tokens = make(Counter, "tokens", "Tokens that the model read and wrote", ("kind",))
        self._actions = make(Counter, "guard_actions", "What the guard did to answers", ("action",))
        self._seconds = make(
            Histogram, "answer_seconds", "Seconds from a question to the whole answer", buckets=_SECONDS
        )
        self._first = make(Histogram, "first_text_seconds", "Seconds to the first text", buckets=_SECONDS)
        self._errors = make(Counter, "errors", "Requests that were refused or failed, by status", ("status",))
        for name, place in (("writing", 0), ("waiting", 1)):
            gauge = make(Gauge, name, f"Answers that are {name}")
            gauge.set_function(lambda place=place: get_load()[place])  # type: ignore[attr-defined]

    def count_error(self, status: int) -> None:
        """Counts a request that was refused or failed."""
        self._errors.labels(str(status)).inc()  # type: ignore[attr-defined]

    def count(self, interface: str, reply: Reply, seconds: float, first: float | None) -> None:
        """Counts an answer that is whole or was broken off.

        Args:
            interface: `api` or `page`.
            reply: The answer.
            seconds: Since the question.
            first: Seconds to its first text, if there was any.
        """
        level = reply.verdict.level if reply.verdict else "unchecked"
        self._answers.labels(interface, level).inc()  # type: ignore[attr-defined]
        self._tokens.labels("read").inc(reply.prompt_tokens)  # type: ignore[attr-defined]
        if reply.is_done and reply.generated:
            self._tokens.labels("written").inc(reply.generated.tokens)  # type: ignore[attr-defined]
        for action, count in (reply.guarded.actions if reply.guarded else {}).items():
            self._actions.labels(action).inc(count)  # type: ignore[attr-defined]
        self._seconds.observe(seconds)  # type: ignore[attr-defined]
        if first is not None:
            self._first.observe(first)  # type: ignore[attr-defined]

    def format(self) -> bytes:
        """Returns the counts in Prometheus' text format."""
        return generate_latest(self.registry)
