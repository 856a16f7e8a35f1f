"""The final answers of completions as ids, equal where two answers are the same text."""

from collections.abc import Callable, Sequence

import torch

from ...errors import InputError


Extractor = Callable[[str], str | None]
FORMS = "'boxed', 'final', package.module:function or path/to/file.py:function"


def boxed(text: str) -> str | None:
    r"""The last `\boxed{}` without case, spaces and thousands separators; None without one."""
    from ...rewards.answers import boxed_answers, normal_answer

    answers = boxed_answers(text)
    return normal_answer(answers[-1]) if answers else None


def final(text: str) -> str | None:
    """The last box, else what another mark says is the answer, normalised likewise."""
    from ...rewards.answers import final_answer, normal_answer

    answer = final_answer(text)
    return None if answer is None else normal_answer(answer)


EXTRACTORS: dict[str, Extractor] = {"boxed": boxed, "final": final}


def find_extractor(name: str | None) -> Extractor:
    """The extractor of that name or path; `InputError` where there is none that can be called."""
    if not name:
        raise InputError(f"`answer_extractor` is missing: say what reads the final answer of a completion ({FORMS}).")
    if name in EXTRACTORS:
        return EXTRACTORS[name]
    if ":" not in name:
        raise InputError(f"`answer_extractor` is {name!r}; valid: {FORMS}.")
    from ...rewards.importing import import_object

    found = import_object(name, "answer_extractor")
    if not callable(found):
        raise InputError(f"`answer_extractor` {name!r} is a {type(found).__name__}, not a function.")
    return found


def ids_of_answers(texts: Sequence[str], extractor: Extractor, name: str) -> torch.Tensor:
    """[N] int64 ids. No answer (None or an empty text) is an answer like any other.

    Raises `InputError` naming the completion (0-based) where the extractor fails or returns something else than a text.
    """
    ids: dict[str, int] = {}
    rows = []
    for row, text in enumerate(texts):
        try:
            answer = extractor(text)
        except Exception as error:
            raise InputError(
                f"`answer_extractor` {name!r} raised {type(error).__name__} for completion {row} (counted from 0), "
                f"{text[:200]!r}: {error}"
            ) from error
        if answer is not None and not isinstance(answer, str):
            raise InputError(
                f"`answer_extractor` {name!r} returned {answer!r} for completion {row} (counted from 0); expected a text "
                "or None."
            )
        rows.append(ids.setdefault(answer or "", len(ids)))
    return torch.tensor(rows, dtype=torch.int64)
