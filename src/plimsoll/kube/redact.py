"""Credentials taken out of objects before anything keeps them.

Of a Secret only its metadata, type and key names are kept. Everywhere else a value goes where
its name says that it is a credential (environment, arguments, settings) or its own shape does
(access keys, tokens, PEM blocks, passwords in URLs). An object without any costs one encoding and
some substring searches (of a pod: of its free text only); what looks suspicious is walked.
"""

from __future__ import annotations

import re
from functools import lru_cache
from operator import is_not
from typing import Any

import msgspec

from plimsoll.kube.objects import MANAGER, Obj

REDACTED = "<redacted>"
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_DEPTH_MAX = 150  # no served kind nests half as deep; what does is not ours to vouch for
_SHORT = 128  # characters; a longer annotation of a Secret holds more than a name

_SHAPES = (
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bhf_[A-Za-z0-9]{20,}",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_\w{20,}",
    r"\bxox[a-z]-[\w-]{8,}",
    r"\bxapp-[\w-]{8,}",
    # Names of objects are lower case, so a word with an upper case letter or 32 hex digits is a key, not a name.
    r"(?<![\w-])sk-(?:[0-9a-f]{32,}|(?=[\w-]{0,512}[A-Z])[\w-]{16,})",
    r"\bglpat-[\w-]{16,}",
    r"\bnvapi-[\w-]{16,}",
    r"\bdckr_pat_[\w-]{16,}",
    r"\bhvs\.[\w-]{16,}",
    r"\bAIza[\w-]{35}",
    r"\beyJ[\w+/=-]{20,}(?:\.[\w-]+)*",
    r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)",
    r"\bLS0tLS1CRUdJTi[\w+/=-]+",  # a PEM block in base64
    r"(?<=earer )(?=\S{0,512}\d)[\w.~+/=-]{16,}",
    r"(?<=asic )(?=\S{0,512}\d)[\w.~+/=-]{16,}",
    # scheme://user:password@ and scheme://key@; a port before a path, or a digest, is neither.
    r"(?<=://)[^\s/@:\"'<>\[]{0,256}:(?!\d{1,5}/)[^\s\"'<>]{1,1024}(?=@)",
    r"(?<=://)[\w.%-]{20,256}(?=@)(?!@sha256:)",
)
_SHAPE = re.compile("|".join(_SHAPES), re.DOTALL)
_NEEDLES = (
    "AKIA", "ASIA", "hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox", "xapp-", "glpat-", "nvapi-",
    "dckr_pat_", "hvs.", "AIza", "eyJ", "-----BEGIN", "LS0tLS1CRUdJTi", "earer ", "asic ",
)  # fmt: skip
_BYTES = tuple(needle.encode() for needle in _NEEDLES)
_HINTS = ("token", "secret", "pass", "key", "cred", "connection", "auth", "pwd")  # in every name of a credential
_HINT_BYTES = tuple(hint.encode() for hint in _HINTS)
_PLACES = tuple(f'"{key}":'.encode() for key in ("env", "args", "command", "annotations", "caBundle", "triggers"))
_BOXES = ("containers", "initContainers", "ephemeralContainers")
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_FREE = ("env", "args", "command", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe")  # of a container
_SPOKEN = ("message", "queryParameters")  # texts that quote settings: `HF_TOKEN=x is not valid`
_SK = re.compile(r"sk-(?<![\w-]sk-)")  # the literal first: it is searched for as such
_SK_BYTES = re.compile(rb"sk-(?:(?<![\w-]sk-)|(?<=\\[nrtbf]sk-))")  # in JSON a newline is the two bytes \n

_SENSITIVE = re.compile(
    r"TOKEN(?!IZ)|SECRET|PASSW(?:OR)?D|PASSPHRASE|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIAL|CONNECTION_?STRING"
    r"|_(?:KEY|PWD|CREDS?)$|(?:^|_|PG|DB|SQL)PASS$|(?:^|_)AUTH$|^AWS_.*KEY"
)
_POINTS = re.compile(  # at a credential, or says something about one
    r"(?:^|_)(?:FILES?|PATH|DIR|NAMES?|NAMESPACE|REFS?|TYPE|MODE|ENABLED|TTL|TIMEOUT|SECONDS|LENGTH|LEN|SIZE|COUNT"
    r"|LIMIT|PROVIDER|CLASS|ISSUER|AUDIENCES?|URL|URI|ENDPOINT|VERSION|FROM_ENV)$|^KUBECONFIG$"
)
_STRICT = re.compile(r"(?:PASSW(?:OR)?D|PASSPHRASE|(?:API|ACCESS|SECRET|PRIVATE)_?KEY|CLIENT_SECRET|(?:^|_)TOKEN|"
                     r"CONNECTION_?STRING|(?:^|_)CONNECTION)$")  # fmt: skip
_TUNABLE = re.compile(r"TOKENS|(?:^|_)(?:MAX|MIN|NUM|BUDGET|COUNT)(?:_|$)")
_PLAIN = re.compile(r"|true|false|null|none|~|<redacted>|\$\([\w.-]+\)|\$\{?\w+\}?|\{\{.*\}\}", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?[A-Za-z]{0,3}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ASSIGNED = re.compile(
    r"(?<![\w.-])(?P<key>(?P<flag>--?)?[A-Za-z_][\w.-]*)(?P<sep>[\"']?\s{0,8}[:=]\s{0,8}|(?(flag)\s{1,8}|(?!)))"
    r"(?P<value>\$\([\w.-]+\)|\$\{\w+\}|\"[^\"\n]*\"|'[^'\n]*'|[^\s\"',;&|})\]]+)"
)


def redacted(obj: Obj) -> Obj:
    """The object without credentials; the same object where it holds none. Never changes its input.

    managedFields keep who wrote and when, ours also which fields, a Node's which nvidia.com labels; the rest of them,
    the last applied configuration (except of NVIDIA's own kinds, whose checks compare it with what
    the API server kept) and CA bundles are left out.
    """
    kind, meta = obj.get("kind"), obj.get("metadata")
    if type(meta) is dict:
        thin = _metadata(meta, node=kind == "Node", applied=str(obj.get("apiVersion", "")).startswith("nvidia.com/"))
        if thin is not meta:
            obj = {**obj, "metadata": thin}
    if kind == "Secret":
        return _secret(obj)
    if kind == "ConfigMap":
        return _config_map(obj)
    if kind == "Pod":
        return _pod(obj)
    raw = _encoded(obj)
    if raw is None or any(place in raw for place in _PLACES) or _shaped(raw):
        return _map(obj, 0)
    return obj


def _metadata(meta: Obj, *, node: bool, applied: bool) -> Obj:
    """Metadata without the bulk that holds copies of values."""
    if type(managed := meta.get("managedFields")) is list:
        meta = {**meta, "managedFields": [_managed(each, node) for each in managed if type(each) is dict]}
    annotations = meta.get("annotations")
    if type(annotations) is dict and _APPLIED in annotations:
        rest = {key: value for key, value in annotations.items() if key != _APPLIED}
        if applied and (copy := _applied(annotations[_APPLIED])):
            rest[_APPLIED] = copy
        meta = {**meta, "annotations": rest}
    return meta


def _managed(entry: Obj, node: bool) -> Obj:
    kept: Obj = {key: entry[key] for key in ("manager", "operation", "time") if key in entry}
    fields: Any = entry.get("fieldsV1")
    if entry.get("manager") == MANAGER and entry.get("operation") == "Apply" and type(fields) is dict:
        return kept | {"fieldsV1": fields}  # names of fields alone; a plan tells by them what we would take away
    for step in ("f:metadata", "f:labels"):
        fields = fields.get(step) if type(fields) is dict else None
    if node and type(fields) is dict:
        own: Obj = {key: {} for key in fields if str(key).startswith("f:nvidia.com/")}
        if own:
            kept["fieldsV1"] = {"f:metadata": {"f:labels": own}}
    return kept


def _applied(text: object) -> str:
    """A last applied configuration without credentials; "" if it is not one object."""
    try:
        found = msgspec.json.decode(text) if isinstance(text, str) else None
    except (msgspec.DecodeError, RecursionError):
        return ""
    return msgspec.json.encode(redacted(found)).decode() if isinstance(found, dict) else ""


def _secret(obj: Obj) -> Obj:
    """Metadata, type and key names."""
    kept: Obj = {key: obj[key] for key in ("apiVersion", "kind", "metadata", "type", "immutable") if key in obj}
    for field in ("data", "stringData"):
        if type(values := obj.get(field)) is dict:
            kept[field] = dict.fromkeys(values, "")
    meta = kept.get("metadata")
    if type(meta) is dict and "annotations" in meta:
        noted = meta["annotations"] if type(meta["annotations"]) is dict else {}
        kept["metadata"] = {**meta, "annotations": {k: v for k, v in noted.items() if _is_note(k, v)}}
    return _map(kept, 0)


def _is_note(key: object, value: object) -> bool:
    """Whether a Secret's annotation is a short remark that cannot hold the Secret's values."""
    if not isinstance(value, str) or len(value) > _SHORT or value[:1] in ("{", "["):
        return False
    return _named(str(key), value) == value


def _config_map(obj: Obj) -> Obj:
    """Settings by key; binary data could hold anything, so only its key names stay."""
    changed = {}
    for key, value in obj.items():
        if key == "data" and type(value) is dict:
            changed[key] = _settings_map(value, 1)
        elif key == "binaryData" and type(value) is dict:
            changed[key] = dict.fromkeys(value, "")
        else:
            changed[key] = _walk(value, 1)
    return changed


def _pod(obj: Obj) -> Obj:
    """A pod, of which there may be 100,000: free text is looked at, not what the API's schema binds."""
    meta, spec, status = obj.get("metadata"), obj.get("spec"), obj.get("status")
    meta, spec, status = (each if type(each) is dict else {} for each in (meta, spec, status))
    said: list[Any] = [status.get("message")]
    said += [each["message"] for each in _maps(status.get("conditions")) if "message" in each]
    for field in _STATUSES:
        if field in status:
            said += [how for box in _maps(status[field]) for how in _told(box)]
    free: list[Any] = [meta.get("annotations"), meta.get("labels")]
    for field in _BOXES:
        if field in spec:
            free += [box[key] for box in _maps(spec[field]) for key in _FREE if key in box]
    raw, spoken = _encoded(free), _encoded(said)
    if raw is None or spoken is None or _shaped(raw) or _shaped(spoken):
        return _map(obj, 0)
    if any(hint in spoken.lower() for hint in _HINT_BYTES):
        return _map(obj, 0)
    low = raw.lower()
    if not any([hint in low for hint in _HINT_BYTES]):  # noqa: C419  a list is faster than a generator here
        return obj
    fields = {field: [_container(box) for box in spec[field]] for field in _BOXES if type(spec.get(field)) is list}
    if type(meta.get("annotations")) is dict:
        obj = {**obj, "metadata": {**meta, "annotations": _settings_map(meta["annotations"], 2)}}
    return {**obj, "spec": {**spec, **fields}} if fields else obj


def _told(status: Obj) -> list[Any]:
    """What a container is not simply running for, now and before."""
    told = (status.get("state"), status.get("lastState"))
    return [how for how in told if how and not (type(how) is dict and "running" in how)]


def _maps(value: object) -> list[Obj]:
    return [each for each in value if type(each) is dict] if type(value) is list else []


def _container(box: Any) -> Any:
    if type(box) is not dict:
        return _walk(box, 3)
    return {**box, **{key: _entry(key, box[key], 4) for key in _FREE if key in box}}


def _encoded(value: object) -> bytes | None:
    """A value as JSON, to be searched; None if it is of a shape JSON does not have."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError):
        return None


def _shaped(raw: bytes) -> bool:
    """Whether anything in an encoded value could have the shape of a credential."""
    for needle in _BYTES:  # a loop of its own: a generator costs as much again
        if needle in raw:
            return True
    return (b"@" in raw and b"://" in raw) or _SK_BYTES.search(raw) is not None


def _walk(value: Any, depth: int) -> Any:
    """A value without credentials; itself where nothing changes."""
    if type(value) is str:
        return _text(value)
    if type(value) is dict:
        return _map(value, depth)
    if type(value) is list:
        if depth > _DEPTH_MAX:
            return []
        fresh = [_walk(each, depth + 1) for each in value]
        return fresh if any(map(is_not, fresh, value)) else value
    return value


def _map(value: Obj, depth: int) -> Obj:
    if depth > _DEPTH_MAX:
        return {}
    fresh = {key: _entry(key, held, depth + 1) for key, held in value.items() if key != "caBundle"}
    return fresh if len(fresh) < len(value) or any(map(is_not, fresh.values(), value.values())) else value


def _entry(key: object, value: Any, depth: int) -> Any:
    """The value under one key of a map anywhere in an object."""
    if type(value) is str:
        if _holds(str(key), value, _STRICT):
            return REDACTED
        return _settings(value) if key in _SPOKEN else _text(value)
    if type(value) is list and depth <= _DEPTH_MAX:
        if key == "env":
            return [_variable(each, depth + 1) for each in value]
        if key in ("args", "command"):
            return _arguments(value, depth + 1)
    if type(value) is dict and key == "annotations" and depth <= _DEPTH_MAX:
        return _settings_map(value, depth)
    return _walk(value, depth)


def _settings_map(values: Obj, depth: int) -> Obj:
    """A map of settings: each value by its key's name, and what is assigned inside it."""
    return {
        key: _named(str(key), held) if type(held) is str else _walk(held, depth + 1) for key, held in values.items()
    }


def _named(key: str, value: str) -> str:
    return REDACTED if _holds(key, value, _SENSITIVE) else _settings(value)


def _variable(entry: Any, depth: int) -> Any:
    """One environment variable."""
    if type(entry) is dict and type(entry.get("name")) is str and type(entry.get("value")) is str:
        return {**entry, "value": _named(entry["name"], entry["value"])}
    return _walk(entry, depth)


def _arguments(words: list[Any], depth: int) -> list[Any]:
    """Command line words: `--token=x`, `--token x` in one word or two, and scripts that assign."""
    kept: list[Any] = []
    flag = ""
    for word in words:
        if type(word) is not str:
            kept.append(_walk(word, depth))
            flag = ""
            continue
        kept.append(REDACTED if flag and word[:2] != "--" and _holds(flag, word, _SENSITIVE) else _settings(word))
        flag = word.lstrip("-") if word[:1] == "-" and "=" not in word else ""
    return kept


def _settings(text: str) -> str:
    """A text that may assign values to names, line by line or word by word."""
    text = _text(text)
    low = text.lower()
    return _ASSIGNED.sub(_assigned, text) if any(hint in low for hint in _HINTS) else text


def _assigned(match: re.Match[str]) -> str:
    value = match["value"]
    bare = value.strip("\"'")
    if not _holds(match["key"].lstrip("-"), bare, _SENSITIVE) or (match["flag"] and bare[:1] == "-"):
        inner = _ASSIGNED.sub(_assigned, value) if "=" in value else value  # `ValueError: HF_TOKEN=x`
        return f"{match['key']}{match['sep']}{inner}"
    quote = value[0] if value[0] in "\"'" else ""
    return f"{match['key']}{match['sep']}{quote}{REDACTED}{quote}"


def _text(text: str) -> str:
    """A text with what has the shape of a credential replaced."""
    found = any(needle in text for needle in _NEEDLES) or ("@" in text and "://" in text)
    if found or ("sk-" in text and _SK.search(text)):
        return _SHAPE.sub(REDACTED, text)
    return text


def _holds(name: str, value: str, which: re.Pattern[str]) -> bool:
    """Whether a name says that its value is a credential, and the value could be one."""
    said = _names_credential(name, which)
    return bool(said) and not _PLAIN.fullmatch(value) and not (said == "tunable" and _NUMBER.fullmatch(value))


@lru_cache(maxsize=8192)
def _names_credential(name: str, which: re.Pattern[str]) -> str:
    """credential | tunable (a number is no credential then) | "" for any other name."""
    upper = re.sub(r"[^A-Z0-9]+", "_", _HUMP.sub("_", name).upper())
    if not which.search(upper) or _POINTS.search(upper):
        return ""
    return "tunable" if _TUNABLE.search(upper) else "credential"
