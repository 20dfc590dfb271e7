"""How an engine is started: the model it serves and its arguments, from a container's command line."""

from __future__ import annotations

import re
import shlex
from decimal import Decimal
from math import ceil

from plimsoll.kube.declare.words import Say, printable, valid
from plimsoll.kube.objects import Obj, items, mapping
from plimsoll.kube.served import environment, vllm_container
from plimsoll.spec.serving import Argument
from plimsoll.spec.values import Quantity, Text
from plimsoll.units import quantity

_SECRET = ("key", "token", "password", "secret", "credentials")  # last word of an option: api-key, hf-token
_OPTION = re.compile("-[^0-9.]")
_VARIABLE = re.compile(r"\$[({]?(\w+)[)}]?\Z")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti")
_REQUEST_MAX = 10**14  # what a declaration's field takes without a unit
_PARALLEL = ("tensor-parallel-size", "pipeline-parallel-size")


def _line(container: Obj) -> list[str]:
    """The words of a container's command and arguments; a shell's script is split as a shell would."""
    found: list[str] = []
    for field in ("command", "args"):
        value = container.get(field)
        for word in value if isinstance(value, list) else []:
            script = isinstance(word, str) and "vllm" in word and " " in word.strip()
            try:
                found += shlex.split(word) if script else [word] if isinstance(word, str) else []
            except ValueError:  # an unclosed quote: the shell would refuse it too
                continue
    return found


def command(title: str, template: Obj, devices: int, say: Say) -> tuple[str, dict[str, Argument]]:
    """The model and the engine's other arguments; no argument that may be a credential."""
    container = vllm_container(template)
    line = _line(container[1]) if container else []
    args: dict[str, Argument] = {}
    model = ""
    for at, word in enumerate(line):
        following = line[at + 1] if at + 1 < len(line) else ""
        if word == "serve" and not following.startswith("-"):
            model = model or following
        if not word.startswith("--") or len(word) < 3:
            continue
        option, given, value = word[2:].partition("=")
        option = option.replace("_", "-")
        if not given and following and not _OPTION.match(following):
            given, value = "=", following
        if option == "model":
            model = value
        elif not _confidential(option, value) and printable([option, value]):
            args[option] = _typed(value) if given else True
    variable = _VARIABLE.match(model)
    if variable and container:
        model = str(environment(container[1]).get(variable.group(1), ""))
    if not valid(model, Text):
        say(f"service {title}: its command line names no model; declared the service's own name")
        model = title
    ranks = 1
    for option in _PARALLEL:
        size = args.get(option, 1)
        ranks *= size if isinstance(size, int) else 1
    if any(option in args for option in _PARALLEL) and ranks != devices:
        say(f"service {title}: it starts {ranks} ranks on {devices} GPUs; its parallel sizes are left out")
        args = {option: value for option, value in args.items() if option not in _PARALLEL}
    return model, args


def requested(template: Obj, resource: str, pods: int) -> Quantity | None:
    """What one replica of so many pods requests of cpu (cores) or memory (bytes), as a person writes it; None: nothing.

    A container without a request has its limit as one. Source: Kubernetes, resource management for pods.
    """
    asked = Decimal(0)
    for each in items(template, "spec", "containers"):
        own = (quantity(mapping(each, "resources", kind).get(resource)) for kind in ("requests", "limits"))
        asked += next((found for found in own if found is not None), Decimal(0))
    if not 0 < asked * pods < _REQUEST_MAX:
        return None
    if resource == "cpu":
        milli = ceil(asked * pods * 1000)
        return Quantity(f"{milli}m" if milli % 1000 else milli // 1000)
    size, power = ceil(asked * pods), 0
    while size % 1024 == 0 and power < len(_BINARY) - 1:
        size, power = size // 1024, power + 1
    return Quantity(f"{size}{_BINARY[power]}")


def _confidential(option: str, value: str) -> bool:
    return option.rpartition("-")[2] in _SECRET or ("://" in value and "@" in value)


def _typed(word: str) -> Argument:
    """An argument's value as a number or a truth where it is written as one."""
    if word in ("true", "false"):
        return word == "true"
    if word.isascii() and word.removeprefix("-").isdecimal() and len(word) < 16 and str(int(word)) == word:
        return int(word)
    whole, dot, part = word.partition(".")
    if dot and word.isascii() and whole.isdecimal() and part.isdecimal() and len(word) < 16:
        return float(word)
    return word
