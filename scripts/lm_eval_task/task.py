"""The task's class: requests that measure the answer alone."""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask


class ReferenceAnswers(ConfigurableTask):  # type: ignore[misc]
    """Log-likelihood of each reference answer, without the white space at the end of the prompt.

    The harness moves such white space (the line break after `<|im_start|>assistant`) from the prompt to the answer. It
    is measured by a second request here, and `utils.score_row` takes it away again.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={name: value for name, value in config.items() if name != "class"})

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Instance]:
        """Returns one request, or two where the prompt ends with white space.

        Raises:
            ValueError: The prompt is not that of the chat template.
        """
        if not kwargs.pop("apply_chat_template", False):
            raise ValueError("This task measures answers to the prompt of the training: add --apply_chat_template.")
        kwargs.pop("chat_template", None)
        pairs, bare = [(ctx, doc["target"])], ctx.rstrip()
        if bare != ctx:
            pairs.append((bare, ctx[len(bare) :]))
        return [
            Instance(request_type="loglikelihood", doc=doc, arguments=pair, idx=place, **kwargs)
            for place, pair in enumerate(pairs)
        ]
