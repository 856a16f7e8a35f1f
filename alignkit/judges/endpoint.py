"""One chat request to an OpenAI-compatible endpoint: time-out, retries with back-off, failures by kind, cost.

The key is read from an environment variable when a request is sent. It is in no attribute, record, log or message; what
a server echoes of it is masked.
"""

import asyncio
import email.utils
import json
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alignkit.errors import InputError


logger = logging.getLogger(__name__)

# A failure of one of these kinds may pass, so the request is sent again.
TRANSIENT = ("rate_limited", "server_error", "timeout", "connection", "bad_response")
TOKEN_LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")
# With these a further request would fail alike, whatever it asks.
HOPELESS = {401: "refuses the key", 403: "refuses access", 404: "does not know the address or the model"}


@dataclass(frozen=True)
class EndpointOptions:
    """Where the model is and how it is asked.

    Attributes:
        model: name sent to the server.
        base_url: address up to and including the version, as in `http://localhost:8000/v1`.
        api_key_env: environment variable that holds the key; None for a server that wants none.
        max_tokens: most tokens of a reply; None sends no limit.
        max_tokens_field: "max_tokens" or "max_completion_tokens" (OpenAI's reasoning models know only the latter).
        temperature, top_p, seed: sent only where given (reasoning models refuse a temperature).
        top_logprobs: ask for this many log-probabilities of each token; None asks for none.
        extra_body: further fields of the request, for example `{"chat_template_kwargs": {...}}`.
        max_concurrency: most requests in flight at once.
        timeout: seconds that one request may take.
        max_retries: further requests after a transient failure.
        backoff: seconds before the first of them, doubled each time up to `max_backoff`, with jitter; a `Retry-After`
            of the server is obeyed where it is longer, up to `max_retry_after`.
        prices: currency units per million tokens, `{"model": {"prompt": 2.5, "completion": 10.0}}`.
    """

    model: str
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str | None = "OPENAI_API_KEY"
    max_tokens: int | None = 1024
    max_tokens_field: str = "max_tokens"
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    top_logprobs: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    max_concurrency: int = 16
    timeout: float = 120.0
    max_retries: int = 6
    backoff: float = 1.0
    max_backoff: float = 60.0
    max_retry_after: float = 600.0
    prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.model:
            raise InputError("model is empty: give the name under which the endpoint serves it")
        if not self.base_url.startswith(("http://", "https://")):
            raise InputError(f"base_url is {self.base_url!r}: it must start with http:// or https://")
        if self.max_tokens_field not in TOKEN_LIMIT_FIELDS:
            raise InputError(
                f"max_tokens_field is {self.max_tokens_field!r}: it must be one of {', '.join(TOKEN_LIMIT_FIELDS)}"
            )
        for name, low in (("max_concurrency", 1), ("max_retries", 0), ("max_tokens", 1), ("top_logprobs", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise InputError(f"{name} is {value}: it must be at least {low}")
        for name in ("timeout", "backoff", "max_backoff", "max_retry_after"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be above 0 seconds")
        price = self.prices.get(self.model)
        if price is not None and not {"prompt", "completion"} <= set(price):
            raise InputError(
                f"the price of {self.model} lacks prompt or completion (per million tokens): {dict(price)}"
            )

    def sampling(self) -> dict[str, Any]:
        """The fields of the request that decide the reply, besides the messages."""
        fields: dict[str, Any] = {"model": self.model}
        if self.max_tokens is not None:
            fields[self.max_tokens_field] = self.max_tokens
        # As floats, so that 0 and 0.0 are one judge.
        for name, kind in (("temperature", float), ("top_p", float), ("seed", int)):
            if getattr(self, name) is not None:
                fields[name] = kind(getattr(self, name))
        if self.top_logprobs is not None:
            fields |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return fields | dict(self.extra_body)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Price of one call, None where the table does not hold the model."""
        price = self.prices.get(self.model)
        if price is None:
            return None
        return (prompt_tokens * price["prompt"] + completion_tokens * price["completion"]) / 1e6

    def key(self) -> str | None:
        """The key, from the environment. Raises `InputError` naming the variable where it is not set."""
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise InputError(
                f"the environment variable {self.api_key_env} holds no key for {self.base_url}: set it, or set "
                "api_key_env to null for a server that wants none"
            )
        return key


@dataclass(frozen=True)
class Completion:
    """An answered request. `top_logprobs` holds, for each token of the reply, {token: log-probability}."""

    text: str
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    top_logprobs: list[dict[str, float]] | None = None


class EndpointFailure(Exception):
    """A request that got no reply; `kind` is one of `TRANSIENT` or "refused" (the server rejects this request)."""

    def __init__(self, kind: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after


class ChatEndpoint:
    """An open connection pool to one endpoint: `async with ChatEndpoint(options) as endpoint: await endpoint.complete(...)`.

    Proxy settings of the environment are respected. `calls` counts the requests sent, `retries` the repeated ones by
    the kind of the failure.
    """

    def __init__(self, options: EndpointOptions) -> None:
        self.options = options
        self.calls = 0
        self.retries: Counter[str] = Counter()
        self._session: Any = None
        self._key: str | None = None
        # After a 429 with Retry-After nobody asks before this time (of time.monotonic).
        self._not_before = 0.0

    async def __aenter__(self) -> "ChatEndpoint":
        import aiohttp

        self._key = self.options.key()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.options.max_concurrency),
            timeout=aiohttp.ClientTimeout(total=self.options.timeout),
            trust_env=True,
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._session.close()
        self._key = None

    async def complete(self, messages: list[dict[str, Any]]) -> Completion:
        """The reply to `messages`, after as many retries as it takes and the options allow.

        Raises `EndpointFailure` when it cannot be had, and `InputError` when no request can succeed (wrong key, wrong
        address or model, no credit).
        """
        for attempt in range(self.options.max_retries + 1):
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            try:
                return await self._ask(messages)
            except EndpointFailure as failure:
                if failure.kind not in TRANSIENT or attempt == self.options.max_retries:
                    raise
                self.retries[failure.kind] += 1
                wait = self._wait(attempt, failure)
                logger.debug("%s; asking again in %.1f s", failure, wait)
            await asyncio.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _wait(self, attempt: int, failure: EndpointFailure) -> float:
        """Seconds until the next attempt: exponential with jitter (half to whole), at least the server's wish."""
        wait = min(self.options.max_backoff, self.options.backoff * 2**attempt) * random.uniform(0.5, 1.0)
        if failure.retry_after is not None:
            wish = min(failure.retry_after, self.options.max_retry_after)
            if failure.kind == "rate_limited":
                self._not_before = max(self._not_before, time.monotonic() + wish)
            # Spread, so that the waiting requests do not come back all at once.
            wait = max(wait, wish + random.uniform(0.0, 0.1) * wish)
        return wait

    async def _ask(self, messages: list[dict[str, Any]]) -> Completion:
        """One request. The failures' texts are ours: aiohttp's may hold the request's headers, and so the key."""
        import aiohttp

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self.calls += 1
        try:
            async with self._session.post(
                self.options.base_url.rstrip("/") + "/chat/completions",
                json={**self.options.sampling(), "messages": messages},
                headers=headers,
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After")
                body = await response.text(errors="replace")
        except asyncio.TimeoutError:
            raise EndpointFailure("timeout", f"no reply within {self.options.timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise EndpointFailure("connection", type(error).__name__) from None
        if status != 200:
            raise self._failure(status, body, retry_after)
        return self._completion(body)

    def _failure(self, status: int, body: str, retry_after: str | None) -> EndpointFailure:
        detail = f"HTTP {status}: {self.mask(body)[:300]}"
        if status == 429 and "insufficient_quota" in body:
            raise InputError(f"{self.options.base_url} says that the account has no credit left ({detail})")
        if status in HOPELESS:
            source = f" (from {self.options.api_key_env})" if status == 401 and self.options.api_key_env else ""
            raise InputError(f"{self.options.base_url} {HOPELESS[status]}{source} for {self.options.model}: {detail}")
        if status == 429:
            return EndpointFailure("rate_limited", detail, seconds_to_wait(retry_after))
        if status >= 500 or status == 408:
            return EndpointFailure("server_error", detail, seconds_to_wait(retry_after))
        return EndpointFailure("refused", detail)

    def _completion(self, body: str) -> Completion:
        try:
            reply = json.loads(body)
            choice = reply["choices"][0]
            # `content` is null for a reply that is all reasoning or a refusal: that is an empty text.
            text = choice["message"].get("content") or ""
            usage = reply.get("usage") or {}
            tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
            listed = (choice.get("logprobs") or {}).get("content")
            logprobs = [
                {top["token"]: float(top["logprob"]) for top in token["top_logprobs"]} for token in listed or []
            ]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            raise EndpointFailure("bad_response", f"not a chat completion: {self.mask(body)[:300]}") from None
        return Completion(
            text=self.mask(str(text)),
            finish_reason=choice.get("finish_reason"),
            prompt_tokens=tokens[0],
            completion_tokens=tokens[1],
            cost=self.options.cost(*tokens),
            top_logprobs=logprobs or None,
        )

    def mask(self, text: str) -> str:
        """`text` without the key."""
        return text.replace(self._key, "[key]") if self._key else text


def seconds_to_wait(retry_after: str | None) -> float | None:
    """The value of a `Retry-After` header, seconds or a date, as seconds from now; None where there is none."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
