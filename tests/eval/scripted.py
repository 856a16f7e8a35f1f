"""Models whose answers are known: a generator that reads a script instead of weights."""

import gzip
import json
from pathlib import Path

from alignkit.eval import plan
from alignkit.generation import Generation


class ScriptedGenerator:
    """Answers a prompt with `answer(content of the last message, seed)`; notes what it was asked."""

    def __init__(self, answer, asked: list, die_after: int | None = None) -> None:
        self.answer = answer
        self.asked = asked
        self.die_after = die_after

    def generate(self, prompts, sampling, seeds):
        for index in reversed(range(len(prompts))):
            if self.die_after is not None and len(self.asked) >= self.die_after:
                raise KeyboardInterrupt
            self.asked.append((prompts[index][-1]["content"], seeds[index]))
            text = self.answer(prompts[index][-1]["content"], seeds[index])
            cut = text.endswith("...")
            yield Generation(index, text, tuple(range(len(text))), "length" if cut else "stop")

    def close(self) -> None:
        self.answer = None


class Bench:
    """Replaces model loading by scripts: `bench.answers[name] = function`, `bench.asked[name]` what was generated."""

    def __init__(self, monkeypatch, model_dir: str) -> None:
        self.answers = {}
        self.asked = {}
        self.die_after = {}
        self.model_dir = model_dir
        monkeypatch.setattr(plan, "resolve_model_name", self.source)
        monkeypatch.setattr(plan, "fingerprint_source", lambda source: f"weights of {source.name}")
        monkeypatch.setattr("alignkit.eval.generating.load_generator", self.load)

    def source(self, name, base_model=None):
        from alignkit.generation import ModelSource

        return ModelSource(name, self.model_dir)

    def load(self, source, options):
        asked = self.asked.setdefault(source.name, [])
        return ScriptedGenerator(self.answers[source.name], asked, self.die_after.get(source.name))


def write_items(path: Path, count: int) -> str:
    """A data file for the suite tiny_math whose answer to "what is N?" is N."""
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        for number in range(count):
            row = {"prompt": [{"role": "user", "content": f"what is {number}?"}], "answer": str(number)}
            stream.write(json.dumps(row) + "\n")
    return str(path)


def number_in(content: str) -> int:
    return int(content.split()[-1].rstrip("?"))
