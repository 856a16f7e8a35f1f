"""`alignkit doctor`: what works in this installation, what does not, why, and what to do about it.

Each check is a function that returns findings; a finding is one plain sentence. Only a missing or broken requirement is
an error; everything optional is a warning or a plain statement.
"""

import os
import platform
import shutil
import socket
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any


OK, INFO, WARNING, ERROR = "ok", "info", "warning", "error"

_TRACKERS = ("wandb", "trackio", "tensorboard", "mlflow", "comet_ml", "swanlab")
_LITTLE_DISK_GIB = 20
_HUB_TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: `"ok"`, `"info"` (not there, and nothing needs it), `"warning"` or `"error"`.
        message: a plain sentence: what is there, or what will not work and why.
        remedy: what to do, for a warning or an error.
    """

    name: str
    status: str
    message: str
    remedy: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def run_checks() -> list[Finding]:
    """Run every check; one that itself fails becomes a finding."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        check_python,
        check_packages,
        check_torch,
        check_bitsandbytes,
        check_vllm,
        check_optional_speed,
        check_trackers,
        check_hub,
        check_space,
    ]
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check()
        except Exception as error:  # a broken library can raise anything when it is imported
            name = check.__name__.removeprefix("check_")
            required = name in ("packages", "torch", "bitsandbytes")
            findings.append(
                Finding(
                    name,
                    ERROR if required else WARNING,
                    f"The check of {name} failed with {type(error).__name__}: {_first_line(error)}.",
                    "Reinstall with `pip install --force-reinstall alignkit -c constraints.txt`."
                    if required
                    else None,
                )
            )
    return findings


def is_healthy(findings: list[Finding]) -> bool:
    """Return whether nothing required is missing or broken."""
    return all(finding.status != ERROR for finding in findings)


def find_constraints() -> Path | None:
    """Return `constraints.txt`: the wheel's copy inside the package, else the one at the root of the checkout."""
    package = Path(__file__).resolve().parent
    candidates = (package / "constraints.txt", package.parent / "constraints.txt")
    return next((path for path in candidates if path.is_file()), None)


def read_constraints(path: Path) -> dict[str, str]:
    """Return the tested version of each package that a constraints file pins, by canonical name."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    pins: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            requirement = Requirement(line.split(" #")[0].strip())
        except InvalidRequirement:  # a comment, an empty line or an option of pip
            continue
        exact = [item.version for item in requirement.specifier if item.operator in ("==", "===")]
        if exact and (requirement.marker is None or requirement.marker.evaluate()):
            pins[canonicalize_name(requirement.name)] = exact[0]
    return pins


def check_python() -> Iterator[Finding]:
    """Python and the platform."""
    from packaging.specifiers import SpecifierSet

    here = platform.python_version()
    supported = SpecifierSet(metadata("alignkit")["Requires-Python"])
    if supported.contains(here, prereleases=True):
        yield Finding("python", OK, f"Python {here} ({supported} is supported) on {platform.platform()}.")
    else:
        yield Finding(
            "python", ERROR, f"Python {here} is not supported: alignkit needs {supported}.", "Make a new environment."
        )
    if sys.platform == "win32":
        yield Finding("platform", WARNING, "alignkit is tested on Linux only.", "Use WSL 2 for training.")


def check_packages() -> Iterator[Finding]:
    """Every requirement of alignkit, against its allowed range and against the tested version."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    path = find_constraints()
    pins = read_constraints(path) if path is not None else {}
    if path is None:
        yield Finding(
            "constraints",
            WARNING,
            "constraints.txt was not found, so versions cannot be compared with the tested ones.",
        )
    untested, fine = [], []
    for text in requires("alignkit") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = requirement.name
        try:
            installed = version(name)
        except PackageNotFoundError:
            yield Finding(name, ERROR, f"{name} is required and not installed.", f"pip install '{requirement}'")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            yield Finding(
                name,
                ERROR,
                f"{name} {installed} is installed, but alignkit needs {requirement.specifier}.",
                f"pip install '{requirement}'",
            )
            continue
        pin = pins.get(canonicalize_name(name))
        if pin is not None and Version(Version(installed).public) != Version(Version(pin).public):
            untested.append((name, installed, pin))
        else:
            fine.append(f"{name} {installed}")
    if fine:
        yield Finding("packages", OK, f"Required and as tested: {', '.join(fine)}.")
    for name, installed, pin in untested:
        yield Finding(
            name,
            WARNING,
            f"{name} {installed} is allowed, but alignkit was tested with {pin}.",
            f"If something fails: pip install '{name}=={pin}'",
        )


def check_torch() -> Iterator[Finding]:
    """The torch build, its devices, their memory and bfloat16."""
    import torch

    cuda = torch.version.cuda or (f"ROCm {torch.version.hip}" if torch.version.hip else None)
    yield Finding("torch", OK, f"torch {torch.__version__} is built for {'CUDA ' + cuda if cuda else 'the CPU only'}.")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            free, total = torch.cuda.mem_get_info(index)
            yield Finding(
                f"cuda:{index}",
                OK,
                f"{properties.name} has {total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB of them free "
                f"(compute capability {properties.major}.{properties.minor}).",
            )
        if torch.cuda.is_bf16_supported():
            yield Finding("bf16", OK, "bfloat16 training works on this GPU.")
        else:
            yield Finding(
                "bf16",
                WARNING,
                "This GPU has no bfloat16, the default of most recipes.",
                "Set bf16: false, fp16: true.",
            )
        return
    if getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        yield Finding("mps", OK, "An Apple GPU is available; vLLM, DeepSpeed and 4-bit training are not, on it.")
    elif shutil.which("nvidia-smi"):
        why = "torch is a CPU build" if cuda is None else "torch cannot use the driver"
        yield Finding(
            "cuda",
            WARNING,
            f"There is an NVIDIA driver, but no usable GPU, because {why}.",
            "Install a build for your driver's CUDA from https://pytorch.org/get-started/locally and look at nvidia-smi.",
        )
    else:
        yield Finding(
            "cuda", INFO, "There is no GPU: the bundled model trains on the CPU, models above about 100M hardly do."
        )
    yield Finding("bf16", *_cpu_bfloat16())


def _cpu_bfloat16() -> tuple[str, str]:
    import torch

    a = torch.full((4, 4), 0.5, dtype=torch.bfloat16)
    works = bool(torch.equal(a @ a, torch.ones(4, 4, dtype=torch.bfloat16)))
    return (OK, "bfloat16 matrix products work on the CPU.") if works else (WARNING, "bfloat16 is wrong on this CPU.")


def check_bitsandbytes() -> Iterator[Finding]:
    """A real 4-bit NF4 round trip on the device that training would use."""
    import torch

    try:
        import bitsandbytes
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    except Exception as error:  # its native library can fail to load in many ways
        yield Finding(
            "bitsandbytes",
            ERROR,
            f"bitsandbytes cannot be imported ({_first_line(error)}), so QLoRA and 4-bit export do not work.",
            "pip install --force-reinstall bitsandbytes",
        )
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Every block of 64 spans the whole range, so that each of the 16 levels is used.
    weights = torch.linspace(-1, 1, 64, device=device).repeat(64, 1)
    packed, state = quantize_4bit(weights, quant_type="nf4")
    worst = float((dequantize_4bit(packed, state) - weights).abs().max())
    # The widest gap between two of NF4's levels is 0.304 of the block's largest value.
    if packed.dtype != torch.uint8 or packed.numel() * 2 != weights.numel() or not 0 < worst < 0.153:
        yield Finding(
            "bitsandbytes",
            ERROR,
            f"bitsandbytes {bitsandbytes.__version__} quantises wrongly on {device}: a 4-bit round trip errs by {worst:.3g}.",
            "pip install --force-reinstall bitsandbytes",
        )
        return
    yield Finding(
        "bitsandbytes",
        OK,
        f"bitsandbytes {bitsandbytes.__version__}: 4-bit NF4 round trip on {device} errs by {worst:.3f}, as it should.",
    )


def check_vllm() -> Iterator[Finding]:
    """vLLM, against the range that the installed TRL supports."""
    from packaging.requirements import Requirement

    try:
        supported = [Requirement(text) for text in requires("trl") or []]
    except PackageNotFoundError:  # reported as a missing requirement
        return
    bounds = next((item.specifier for item in supported if item.name == "vllm"), None)
    if find_spec("vllm") is None:
        yield Finding(
            "vllm",
            INFO,
            "vLLM is not installed, so use_vllm: true will not work; generation runs through transformers, slower.",
            f"On a CUDA machine: pip install 'vllm{bounds or ''}'",
        )
        return
    installed = version("vllm")
    if bounds is not None and not bounds.contains(installed, prereleases=True):
        yield Finding(
            "vllm",
            WARNING,
            f"vLLM {installed} is installed, but TRL {version('trl')} supports {bounds}, so use_vllm: true may fail.",
            f"pip install 'vllm{bounds}'",
        )
    else:
        yield Finding("vllm", OK, f"vLLM {installed} is in the range that TRL {version('trl')} supports ({bounds}).")


def check_optional_speed() -> Iterator[Finding]:
    """flash-attn and DeepSpeed: both optional, both of use on CUDA only."""
    import torch

    for module, package, setting, use in (
        (
            "flash_attn",
            "flash-attn",
            "attn_implementation: flash_attention_2",
            "attention runs through torch's own kernels",
        ),
        ("deepspeed", "deepspeed", "the ZeRO launch configurations", "use FSDP2 for several GPUs"),
    ):
        if find_spec(module) is None:
            yield Finding(package, INFO, f"{package} is not installed, so {setting} will not work; {use}.")
        elif not torch.cuda.is_available():
            yield Finding(package, INFO, f"{package} {version(package)} is installed, but needs a GPU to be of use.")
        else:
            yield Finding(package, OK, f"{package} {version(package)} is installed.")


def check_trackers() -> Iterator[Finding]:
    """Experiment trackers that `report_to` can name."""
    found = [name for name in _TRACKERS if find_spec(name) is not None]
    if found:
        yield Finding("trackers", OK, f"report_to can be: {', '.join(found)}.")
    else:
        yield Finding(
            "trackers",
            INFO,
            "No experiment tracker is installed; metrics go to the console and to trainer_state.json.",
            "pip install tensorboard",
        )


def check_hub() -> Iterator[Finding]:
    """Whether there is a token (which is not shown) and whether the Hub answers."""
    from huggingface_hub import constants, get_token

    if get_token():
        yield Finding("hub token", OK, "There is a Hub token, so gated models and --push can work.")
    else:
        yield Finding(
            "hub token",
            INFO,
            "There is no Hub token, so gated models and --push will not work.",
            "hf auth login, or set HF_TOKEN",
        )
    endpoint = os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        yield Finding(
            "hub", INFO, "HF_HUB_OFFLINE is set, so the Hub was not tried: only cached and local models and data work."
        )
    elif answers(endpoint):
        yield Finding("hub", OK, f"{endpoint} answers.")
    else:
        yield Finding(
            "hub",
            WARNING,
            f"{endpoint} did not answer within {_HUB_TIMEOUT_SECONDS:g} s, so models and data cannot be downloaded.",
            "Check the network and HTTPS_PROXY, or set HF_HUB_OFFLINE=1 and use local files.",
        )


def answers(endpoint: str, timeout: float = _HUB_TIMEOUT_SECONDS) -> bool:
    """Return whether a server accepts a connection (through the proxy of the environment, if one is set) in time.

    Looking up a name has no time-out of its own, so the attempt runs in a thread that is left behind if it hangs.
    """
    url = urllib.parse.urlsplit(endpoint)
    proxy = urllib.request.getproxies().get(url.scheme)
    if proxy and not urllib.request.proxy_bypass(url.hostname or ""):
        url = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    connected = threading.Event()

    def connect() -> None:
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
            socket.create_connection((url.hostname or "", port), timeout=timeout).close()
            connected.set()
        except OSError:
            pass

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout)
    return connected.is_set()


def check_space() -> Iterator[Finding]:
    """Free disk where runs and the Hub's cache are written, and main memory."""
    from huggingface_hub import constants

    for name, place in (("disk here", Path.cwd()), ("disk of the Hub cache", Path(constants.HF_HUB_CACHE))):
        existing = next(path for path in (place, *place.parents) if path.exists())
        free = shutil.disk_usage(existing).free / 2**30
        if free < _LITTLE_DISK_GIB:
            yield Finding(
                name,
                WARNING,
                f"{free:.1f} GiB are free, less than the 15 GiB of a 7B model in bfloat16 and a checkpoint need.",
                "Free some, or set HF_HOME and output_dir to another disk.",
            )
        else:
            yield Finding(name, OK, f"{free:.0f} GiB are free.")
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        yield Finding("memory", OK, f"The machine has {memory:.1f} GiB of main memory and {os.cpu_count()} CPU cores.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")
