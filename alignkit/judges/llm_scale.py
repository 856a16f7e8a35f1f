"""What the LLM judges that give numbers share: the scale, the paid replies, and what identifies a request."""

import os
from collections.abc import Callable
from typing import Any, ClassVar

from alignkit.errors import InputError

from .conversations import digest
from .endpoint import Completion, EndpointOptions
from .replies import PaidReplies, Question
from .templates import check_template


class LLMScale:
    """Mixin for judges that ask an LLM for scores from `low` to `high`.

    Class attributes:
        kind: name of the judge, a part of its identity.
        places: fields that its template must have.
    """

    kind: ClassVar[str]
    places: ClassVar[tuple[str, ...]]
    stats: Any

    def _set_up(
        self,
        options: EndpointOptions,
        template: str,
        system_prompt: str,
        scale: tuple[float, float],
        read: Callable[[Completion, Question], float | list[float] | None],
        attempts: int,
        cache: str | os.PathLike[str] | None,
    ) -> None:
        """Check the arguments of the judge and open its replies; `InputError` for a scale or template that cannot be."""
        low, high = scale
        if not low < high:
            raise InputError(f"low is {low} and high {high}: low must be below high")
        check_template(template, self.places)
        self.options, self.template, self.system_prompt = options, template, system_prompt
        self.low, self.high = float(low), float(high)
        judge = digest(self._request_identity())
        self.replies = PaidReplies(options, judge=judge, read=read, attempts=attempts, cache=cache, stats=self.stats)

    def _request_identity(self) -> dict[str, Any]:
        return {
            "judge": self.kind,
            "sampling": self.options.sampling(),
            "system_prompt": self.system_prompt,
            "template": self.template,
            "low": self.low,
            "high": self.high,
        }

    def identity(self) -> dict[str, Any]:
        """What decides a verdict: the request and how often it is tried."""
        return {**self._request_identity(), "attempts": self.replies.attempts}
