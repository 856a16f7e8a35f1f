"""`alignkit export`: make a Hub-ready folder of a checkpoint, merge it, push it."""

import argparse
import sys


HELP = "make a Hub-ready folder of a checkpoint, merge it, push it"

# Flags that mean nothing when a finished export is only pushed.
_EXPORT_FLAGS = ("merge", "base_model", "base_revision", "method", "license", "eval_results", "load_in_4bit", "force")

_LANGUAGE_MODEL_FLAGS = ("merge", "base_model", "base_revision", "method", "eval_results", "load_in_4bit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "checkpoint",
        help="a run's output_dir, a checkpoint-N, an adapter or a full model; with --push and without --out: a folder "
        "that was exported before",
    )
    parser.add_argument("--out", metavar="DIR", help="the folder to make")
    parser.add_argument(
        "--merge", action="store_true", help="merge the adapter into its base model and compare logits"
    )
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float32", "bfloat16", "float16"],
        help="of the merged weights (default: the base model's own)",
    )
    parser.add_argument(
        "--load_in_4bit",
        action="store_true",
        default=None,
        help="training quantised the base to 4 bits: merge into the dequantised base (read from the run if recorded)",
    )
    parser.add_argument("--base_model", metavar="NAME", help="name of the base model, if the run's is not the Hub's")
    parser.add_argument("--base_revision", metavar="REV", help="its revision on the Hub")
    parser.add_argument("--method", metavar="KEY", help="the method, if the run did not record it (alignkit methods)")
    parser.add_argument("--license", metavar="NAME", help="the Hub's name of the licence, for the model card")
    parser.add_argument(
        "--eval-results", "--eval_results", metavar="RESULTS.json", help="put these into the model card"
    )
    parser.add_argument(
        "--push", metavar="REPO", help="upload the folder to this repository (token: HF_TOKEN or hf auth)"
    )
    parser.add_argument("--private", action="store_true", help="make the repository private if it is new")
    parser.add_argument("--force", action="store_true", help="replace DIR if it exists")
    parser.add_argument(
        "--trust_remote_code", action="store_true", help="run code that the base model's repository brings"
    )


def run(args: argparse.Namespace, extra: list[str]) -> int:
    """Export, and push if asked; return 0, or 1 if the export is done and the Hub failed."""
    from alignkit.errors import InputError
    from alignkit.hub import PushError, export_adapter, push
    from alignkit.hub.diffusion_export import export_diffusion_lora, is_diffusion_lora
    from alignkit.hub.upload import check_repo_id

    if args.push is not None:
        check_repo_id(args.push)
    elif args.private:
        raise InputError("--private says how to push; name the repository with --push REPO.")
    if args.out is None and args.push is None:
        raise InputError("name the folder to make with --out DIR.")

    folder = args.checkpoint
    if args.out is not None and is_diffusion_lora(folder):
        if given := [flag for flag in _LANGUAGE_MODEL_FLAGS if getattr(args, flag)]:
            raise InputError(f"--{given[0]} is for language models; {folder} holds a LoRA of a diffusion model.")
        result = export_diffusion_lora(
            folder, args.out, license_name=args.license, repo_id=args.push, force=args.force
        )
        _print_result(result)
        folder = str(result.path)
    elif args.out is not None:
        result = export_adapter(
            args.checkpoint,
            args.out,
            merge=args.merge,
            base_model=args.base_model,
            base_revision=args.base_revision,
            eval_results=args.eval_results,
            method=args.method,
            license_name=args.license,
            dtype=args.dtype,
            load_in_4bit=args.load_in_4bit,
            repo_id=args.push,
            force=args.force,
            trust_remote_code=args.trust_remote_code,
            resolve_base=_resolve_base,
        )
        _print_result(result)
        folder = str(result.path)
    elif given := [flag for flag in _EXPORT_FLAGS if getattr(args, flag)]:
        raise InputError(f"--{given[0]} changes the export; name the folder to make with --out DIR.")
    if args.push is not None:
        try:
            pushed = push(folder, args.push, private=args.private)
        except PushError as error:
            print(f"alignkit: {error}", file=sys.stderr)
            return 1
        print(f"Pushed to {pushed.url} (commit {pushed.commit}).")
    return 0


def _resolve_base(name: str) -> str:
    from alignkit.data.bundled import resolve_model

    return resolve_model(name)


def _print_result(result) -> None:
    for note in result.notes:
        print(f"Note: {note}")
    what = {
        "adapter": "an adapter for",
        "model": "a full model from",
        "merged": "a merged model of",
        "diffusion_lora": "a LoRA for",
    }[result.kind]
    print(f"Exported {what} {result.base_model or 'an unnamed base model'} to {result.path}:")
    for name in result.files:
        print(f"  {name}")
    if result.merge is not None:
        for sentence in result.merge.sentences():
            print(sentence)
    for warning in result.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
