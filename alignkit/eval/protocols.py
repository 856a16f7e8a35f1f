"""How a question is put to a model. The report names the protocol: figures under different ones do not compare."""

import difflib
from collections.abc import Callable
from typing import Any

from alignkit.errors import InputError


Messages = list[dict[str, str]]

BOXED = "Reason step by step and put your final answer within \\boxed{}."
QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


def bare(question: Messages) -> Messages:
    """The question and nothing else."""
    return question


def boxed_cot(question: Messages) -> Messages:
    """The question, and in the same message the request to reason and to box the answer."""
    last = question[-1]
    return [*question[:-1], {**last, "content": f"{last['content']}\n\n{BOXED}"}]


def qwen25_math(question: Messages) -> Messages:
    """The request as system message, the bare question as user message: what most RL papers report."""
    return [{"role": "system", "content": QWEN_SYSTEM}, *question]


# Five worked examples, "Question: ... Answer:", string comparison: lm-eval has it for its tasks, data and filters included.
LM_EVAL_PROTOCOL = "lm-eval-5shot"
PROTOCOLS: dict[str, Callable[[Messages], Messages]] = {
    "bare": bare,
    "boxed-cot": boxed_cot,
    "qwen25-math": qwen25_math,
}


def apply_protocol(name: str, question: Any) -> Messages:
    """Messages of a question (text, or messages) under the protocol `name`."""
    if name == LM_EVAL_PROTOCOL:
        raise InputError(
            f"the protocol {name} is lm-eval's own, with its examples and its filters (strict: `####`, flexible: the last "
            "number): run it as --suite lm_eval:gsm8k, with --num_fewshot 5"
        )
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name, PROTOCOLS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PROTOCOLS)}"
        raise InputError(f"there is no protocol {name!r}: {hint}")
    messages = [{"role": "user", "content": question}] if isinstance(question, str) else question
    return PROTOCOLS[name](messages)
